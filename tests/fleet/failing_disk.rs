//! A coordinator whose disk fails while it writes: a real file system on a real block device, which takes what is written
//! and then cannot keep it, so that `fsync` fails. What was acknowledged is there afterwards, nothing was acknowledged that
//! is not, and the coordinator has stopped rather than gone on with what it does not know.

use std::collections::BTreeSet;
use std::process::Command;

use reeve_tests::lab::Workspace;

/// In a mount namespace of its own, which goes with it. The file system has a journal: one without loses what it knows of a
/// file when the device fails, and says nothing of it to `fsync`. The image is larger than the memory behind it: the file system has
/// room, and the device has none.
const SCRIPT: &str = r#"
set -e
cd "$1"
mkdir memory disk
mount -t tmpfs -o size=3m none memory
truncate -s 64M memory/image
mkfs.ext4 -q -F -m 0 memory/image
mount -o loop memory/image disk

ask() { "$REEVE" --socket "$PWD/reeve.sock" "$@"; }
begin() {
    rm -f reeve.sock
    "$COORDINATOR" --config "$PWD/coordinator.conf" run 2>>said &
    process=$!
    until ask status >/dev/null 2>&1; do
        kill -0 $process
        sleep 0.05
    done
}

"$COORDINATOR" --config "$PWD/coordinator.conf" init >/dev/null
begin
number=0
while [ $number -lt 2000 ] && ask host add node-$number --realm r --profile p >/dev/null 2>>refused; do
    echo "acknowledged node-$number"
    number=$((number + 1))
done
echo "refused: $(cat refused)"
timeout 20 tail --pid=$process -f /dev/null || { echo "it runs on"; kill -9 $process; }
code=0
wait $process || code=$?
echo "ended with $code"

# What is really on the device, read anew, and a disk that works.
umount disk
mount -o remount,size=64m memory
mount -o loop memory/image disk
begin
ask host list -o json
ask host add late --realm r --profile p >/dev/null
echo
echo "goes on"
kill $process
wait $process || true
cat said >&2
"#;

#[test]
fn after_a_sync_that_failed_the_coordinator_stops_and_nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display();
    let configuration = format!(
        "state-directory = \"{place}/disk/state\"\napi-socket = \"{place}/reeve.sock\"\nadvertised-address = \"192.0.2.1\"\nagent-listen = \"127.0.0.1:0\"\njoin-listen = \"127.0.0.1:0\"\nrealms {{ r {{ disabled = no, driver = libvirt, name = R\n drives.lazy-allocation = on }} }}\nhardware-profiles {{ p {{ cores = 4, memory = 8 GiB }} }}\n"
    );
    std::fs::write(directory.path().join("coordinator.conf"), configuration).unwrap();
    let workspace = Workspace::locate().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(directory.path())
        .env("COORDINATOR", workspace.program("reeve-coordinator").unwrap())
        .env("REEVE", workspace.program("reeve").unwrap())
        .output()
        .unwrap();
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let story = format!("{told}\n{said}");
    assert!(output.status.success() && told.contains("goes on"), "{story}");
    let acknowledged: BTreeSet<&str> =
        told.lines().filter_map(|line| line.strip_prefix("acknowledged ")).collect();
    assert!(acknowledged.len() >= 3 && acknowledged.len() < 2000, "{story}");
    // Whoever asked is told, or sees the coordinator go: never that it was done.
    assert!(
        told.contains("it is not known what reached the disk")
            || told.contains("connection to the coordinator broke"),
        "{story}"
    );
    assert!(!told.contains("it runs on") && !told.contains("ended with 0"), "it must stop: {story}");
    assert!(said.contains("the store cannot be gone on with"), "{story}");
    let listed: String = told.lines().filter(|line| !line.starts_with("acknowledged")).collect();
    let missing: Vec<_> =
        acknowledged.iter().filter(|name| !listed.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}; {story}");
}
