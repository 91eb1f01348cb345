//! Files as people and programs leave them: what is read, and how every mistake is told.

use proptest::prelude::*;

use super::super::mistake::TraceErrors;
use super::super::reading::{HOSTS_MAX, hosts, trace};
use super::super::trace::Trace;

const HOSTS: &str = "host,millicores,memory_mib,device_class,device_count\n\
    node-1,32000,131072,A100,4\n\
    node-2,64000,262144,T4,2\n\
    node-3,64000,262144,,0\n";
const VM_HEADER: &str =
    "vm,millicores,memory_mib,device_class,device_count,device_permille,arrive_s,depart_s\n";

fn read_hosts(text: impl AsRef<[u8]>) -> Result<usize, TraceErrors> {
    hosts(text.as_ref(), "h.csv").map(|hosts| hosts.len())
}

fn read_vms(text: impl AsRef<[u8]>) -> Result<Trace, TraceErrors> {
    trace(hosts(HOSTS.as_bytes(), "h.csv").unwrap(), text.as_ref(), "v.csv")
}

/// The messages about VMs of these lines below the header.
fn vm_mistakes(lines: &str) -> String {
    read_vms(format!("{VM_HEADER}{lines}")).unwrap_err().to_string()
}

#[test]
fn every_way_of_asking_for_devices_is_read() {
    let lines = "a,2000,7168,,0,0,0,10\nb,1000,1024,A100,2,1000,3,\nc,1000,1024,A100|T4,1,250,5,5\nd,1,1,,1,1000,5,6\n\
                 e,2000,7168,,0,0,9,\n";
    let trace = read_vms(format!("{VM_HEADER}{lines}")).unwrap();
    let shapes: Vec<String> = trace
        .shapes
        .iter()
        .map(|(shape, count)| {
            let devices = shape.devices.as_ref();
            let devices = devices.map_or_else(String::new, |(class, amount)| format!(" {amount} of {class}"));
            format!("{count} x {} {}{devices}", shape.cores, shape.memory)
        })
        .collect();
    assert_eq!(
        shapes,
        [
            "2 x 2 7 GiB",
            "1 x 1 1 GiB 2 of A100",
            "1 x 1 1 GiB 250 permille of A100|T4",
            "1 x 0.001 1 MiB 1 of *"
        ]
    );
    assert_eq!(trace.vms.iter().map(|vm| vm.shape).collect::<Vec<_>>(), [0, 1, 2, 3, 0]);
    assert_eq!(trace.vms[1].depart_s, None);
    assert_eq!((trace.vms[2].arrive_s, trace.vms[2].depart_s), (5, Some(5)));
}

#[test]
fn files_from_anywhere_are_read() {
    assert_eq!(read_hosts(HOSTS), Ok(3));
    assert_eq!(read_hosts(format!("\u{feff}{HOSTS}")), Ok(3), "a byte order mark");
    assert_eq!(read_hosts(HOSTS.replace('\n', "\r\n")), Ok(3), "carriage returns");
    assert_eq!(read_hosts(HOSTS.replace('\n', "\n\n \n")), Ok(3), "blank lines");
    assert_eq!(read_hosts(HOSTS.trim_end()), Ok(3), "no end of the last line");
    assert_eq!(read_hosts(HOSTS.replace(',', " , ")), Ok(3), "space around fields");
    let quoted: String =
        HOSTS.lines().map(|line| format!("\"{}\"\r\n", line.replace(',', "\",\""))).collect();
    assert_eq!(read_hosts(quoted), Ok(3), "quotes");
    let other_order = "note,device_count,device_class,host,memory_mib,millicores\nold,0,,n,5,7\n";
    let read = hosts(other_order.as_bytes(), "h.csv").unwrap();
    assert_eq!((read[0].cores.0, read[0].memory.0), (7, 5), "columns are found by their names");
}

#[test]
fn every_mistake_names_file_line_and_column() {
    let lines = "\
a,2000,7168,,0,0,0,10
a,2000,7168,,0,0,0,10
b,-5,7168,,0,0,0,10
c,many,7168,,0,0,0,10
d,1.5,7168,,0,0,0,10
e,,7168,,0,0,0,10
f,99999999999999999999,7168,,0,0,0,10
g,2000,7168,,0,0,9,5
h,2000,7168,H100,1,1000,0,
i,2000,7168,A100,2,500,0,
j,2000,7168,A100,1,1001,0,
k,2000,7168,A100,1,0,0,
l,2000,7168,A100||T4,1,1000,0,
m,2000,7168,,0,0,-1,
n,2000
,2000,7168,,0,0,0,
";
    insta::assert_snapshot!(vm_mistakes(lines), @r#"
    v.csv:3: vm: "a" is on line 2 already
    v.csv:4: millicores: "-5" is negative; a whole number from 0 to 1000000000 belongs here
    v.csv:5: millicores: "many" is not a number; a whole number from 0 to 1000000000 belongs here
    v.csv:6: millicores: "1.5" is not a whole number; a whole number from 0 to 1000000000 belongs here
    v.csv:7: millicores: there is nothing here; a whole number from 0 to 1000000000 belongs here
    v.csv:8: millicores: "99999999999999999999" is too much; a whole number from 0 to 1000000000 belongs here
    v.csv:9: depart_s: 5 is before arrive_s, 9: a VM cannot leave before it comes
    v.csv:10: device_class: no host has devices of class "H100", so that no host could ever take this VM; the hosts have A100, T4
    v.csv:11: device_permille: 500 thousandths of 2 devices: a share is of one device, so device_count must be 1
    v.csv:12: device_permille: "1001" is too much; a whole number from 0 to 1000 belongs here
    v.csv:13: device_permille: 0 thousandths of a device are nothing; a whole one is 1000
    v.csv:14: device_class: a device class name may not be empty; alternatives are separated by '|', and '*' means any class
    v.csv:15: arrive_s: "-1" is negative; a whole number from 0 to 1000000000000 belongs here
    v.csv:16: the line has 2 fields, the first one 8
    v.csv:17: vm: a VM has a name, and there is nothing here
    "#);
}

#[test]
fn hosts_are_checked_as_well() {
    let lines = "n/1,1,1,,0\nn1,1,1,,3\nn2,1,1,a b,1\nn3,1,1,A,5000\nn4,1,1,,0\nn4,1,1,,0\n";
    let header = HOSTS.lines().next().unwrap();
    insta::assert_snapshot!(read_hosts(format!("{header}\n{lines}")).unwrap_err(), @r#"
    h.csv:2: host: a host name is made of letters, digits, '.', '_' and '-', and starts with a letter or digit: "n/1" has '/' at position 2
    h.csv:3: device_class: a host's devices have a class, and there is nothing here
    h.csv:4: device_class: a device class name is made of letters, digits, '.', '_' and '-', and starts with a letter or digit: "a b" has ' ' at position 2
    h.csv:5: device_count: "5000" is too much; a whole number from 0 to 1024 belongs here
    h.csv:7: host: "n4" is on line 6 already
    "#);
}

#[test]
fn lines_are_counted_however_they_end() {
    let at = |text: String| read_hosts(text).unwrap_err().mistakes[0].line;
    let bad = HOSTS.replace("64000,262144,,", "x,262144,,");
    assert_eq!(at(bad.clone()), Some(4));
    assert_eq!(at(bad.replace('\n', "\r\n")), Some(4));
    assert_eq!(at(bad.trim_end().to_owned()), Some(4), "the last line without its end");
    assert_eq!(at(bad.replacen('\n', "\n\n\r\n", 1)), Some(6), "blank lines count");
    assert_eq!(at(bad.replace("node-1,", "\"node\n-1\",")), Some(2), "a name over two lines");
    assert_eq!(
        at(HOSTS.replace("node-2,", "\"node\n-2\",")),
        Some(3),
        "a line begins where its first field does"
    );
}

#[test]
fn columns_must_be_there_once() {
    insta::assert_snapshot!(read_hosts("host;millicores;memory_mib\na;1;2\n").unwrap_err(), @r#"
    h.csv:1: host: there is no column of this name; the first line has "host;millicores;memory_mib"
    h.csv:1: millicores: there is no column of this name; the first line has "host;millicores;memory_mib"
    h.csv:1: memory_mib: there is no column of this name; the first line has "host;millicores;memory_mib"
    h.csv:1: device_class: there is no column of this name; the first line has "host;millicores;memory_mib"
    h.csv:1: device_count: there is no column of this name; the first line has "host;millicores;memory_mib"
    "#);
    insta::assert_snapshot!(read_hosts("host,host,millicores,memory,device_class,device_count\n").unwrap_err(), @r#"
    h.csv:1: host: there are two columns of this name
    h.csv:1: memory_mib: there is no column of this name; the first line has "host", "host", "millicores", "memory", "device_class", "device_count"
    "#);
}

#[test]
fn what_is_no_table_is_refused() {
    let told = |text: &[u8]| read_hosts(text).unwrap_err().to_string();
    let header = HOSTS.lines().next().unwrap();
    assert!(told(b"").contains("the file is empty"));
    assert!(told(b"\r\n\n \n").contains("the file is empty"));
    assert_eq!(told(header.as_bytes()), "h.csv: there is no host in it");
    assert_eq!(read_vms(VM_HEADER).unwrap_err().to_string(), "v.csv: there is no VM in it");
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(HOSTS.bytes().flat_map(|byte| [byte, 0])).collect();
    assert!(told(&utf16).contains("h.csv:1: the line is not UTF-8 text"), "{}", told(&utf16));
    let latin = [header.as_bytes(), b"\nn\xf6de,1,1,,0\nn2,1,1,,0\nn3,x,1,,0\n"].concat();
    assert!(told(&latin).starts_with("h.csv:2: the line is not UTF-8"), "{}", told(&latin));
    assert!(told(&latin).contains("h.csv:4: millicores"), "{}", told(&latin));
    let endless = [header.as_bytes(), b"\n", &vec![b'x'; 1 << 20]].concat();
    assert!(told(&endless).contains("h.csv:2: the file cannot be read further: a line has more than 64 KiB"));
    let unclosed = [header.as_bytes(), b"\n\"", HOSTS.repeat(2000).as_bytes()].concat();
    assert!(told(&unclosed).contains("more than 64 KiB"));
    assert!(told(&vec![0; 1 << 20]).contains("more than 64 KiB"));
}

#[test]
fn reading_stops_when_there_are_mistakes_enough() {
    let lines: String = (0..1_000).map(|number| format!("n{number},x,1,,0\n")).collect();
    let errors = read_hosts(format!("{}\n{lines}", HOSTS.lines().next().unwrap())).unwrap_err();
    assert_eq!((errors.mistakes.len(), errors.is_cut), (20, true));
    assert!(errors.to_string().ends_with("h.csv: reading stopped here; there may be more mistakes"));
    let errors = read_hosts(HOSTS.replace("64000,262144,,", "x,262144,,")).unwrap_err();
    assert!(!errors.is_cut);
}

#[test]
fn more_hosts_than_there_may_be_are_refused() {
    let lines: String = (0..=HOSTS_MAX).map(|number| format!("n{number},1,1,,0\n")).collect();
    let text = format!("{}\n{lines}", HOSTS.lines().next().unwrap());
    let told = read_hosts(text).unwrap_err().to_string();
    assert!(told.starts_with("h.csv:200002: a trace has at most 200000 hosts\n"), "{told}");
}

#[test]
fn foreign_text_in_messages_is_harmless_and_short() {
    let told = vm_mistakes(&format!("a,\u{1b}[2J,1,,0,0,0,\nb,{},1,,0,0,0,\n", "9".repeat(5000)));
    assert!(!told.contains('\u{1b}'), "{told:?}");
    assert!(told.lines().all(|line| line.len() < 200), "{told}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read_hosts(&bytes);
        let _ = read_vms(&bytes);
        let _ = read_vms([VM_HEADER.as_bytes(), bytes.as_slice()].concat());
    }

    #[test]
    fn arbitrary_fields_never_panic(
        rows in proptest::collection::vec(
            proptest::collection::vec("[-+0-9a-zA-Z.|*\"\r\n ]{0,22}|[0-9]{1,5}", 8), 0..12)
    ) {
        let lines: String = rows.iter().map(|fields| fields.join(",") + "\n").collect();
        if let Err(errors) = read_vms(format!("{VM_HEADER}{lines}")) {
            prop_assert!(!errors.mistakes.is_empty() && errors.mistakes.len() <= 20);
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}
