//! Owns the answer to "which processes belong to this lab", whoever started them and whether or not they were written
//! down: those that carry the lab's id in their environment, and those that see a mount marked with it.

use std::fs;

use nix::unistd::getpid;

use super::description::Description;
use super::perform::MARK_VARIABLE;
use super::process::ProcessIdentity;

/// All processes of a lab, except the one that asks.
pub(crate) fn members(lab: &Description) -> Vec<ProcessIdentity> {
    let own = getpid().as_raw();
    let variable = format!("{MARK_VARIABLE}={}", lab.id);
    let mark = lab.mark();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(ProcessIdentity::of)
        .filter(|process| {
            let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
            let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", process.pid)).unwrap_or_default();
            has_variable(&environment, &variable) || sees_mount(&mounts, &mark)
        })
        .collect()
}

fn has_variable(environment: &[u8], variable: &str) -> bool {
    environment.split(|byte| *byte == 0).any(|assignment| assignment == variable.as_bytes())
}

/// A line of `mountinfo` ends, behind ` - `, in the type, the source and the options.
fn sees_mount(mounts: &str, source: &str) -> bool {
    mounts.lines().any(|line| {
        line.split_once(" - ").is_some_and(|(_, behind)| behind.split(' ').nth(1) == Some(source))
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::description::tests::example;
    use super::*;

    #[test]
    fn a_mark_is_a_whole_word() {
        assert!(has_variable(b"A=1\0REEVE_LAB=x\0", "REEVE_LAB=x"));
        assert!(!has_variable(b"REEVE_LAB=xy\0Z=REEVE_LAB=x\0", "REEVE_LAB=x"));
        let mounts = "31 24 0:26 / /run rw,relatime shared:5 - tmpfs reeve-lab-x rw,mode=755\n";
        assert!(sees_mount(mounts, "reeve-lab-x"));
        assert!(!sees_mount(mounts, "reeve-lab"));
        assert!(!sees_mount("31 24 0:26 /reeve-lab-x /run rw - tmpfs other rw\n", "reeve-lab-x"));
    }

    #[test]
    fn a_marked_process_is_found_while_it_runs() {
        let mut lab = example();
        lab.id = uuid::Uuid::new_v4();
        assert_eq!(members(&lab), []);
        let mut child =
            Command::new("sleep").arg("1000").env(MARK_VARIABLE, lab.id.to_string()).spawn().unwrap();
        let found =
            crate::harness::waiting::poll_until("the child", std::time::Duration::from_secs(10), || {
                let found = members(&lab);
                Ok((!found.is_empty()).then_some(found))
            });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.unwrap()[0].pid, i32::try_from(child.id()).unwrap());
        assert_eq!(members(&lab), []);
    }
}
