//! Guests that are silent, babble or lie; names that mean something elsewhere.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reeve_tests::image::Variant;
use reeve_tests::lab::CoordinatorSettings;

use crate::fleet::Fleet;

#[test]
fn a_guest_that_does_not_register_is_terminated_and_disturbs_nobody() -> Result<()> {
    let settings = CoordinatorSettings {
        registration_timeout: Duration::from_secs(25),
        ..CoordinatorSettings::default()
    };
    let silent = [Variant::Mute, Variant::Babbler, Variant::Liar];
    let fleet = Fleet::new(
        "hostile",
        2,
        &[Variant::Good, Variant::Mute, Variant::Babbler, Variant::Liar],
        &settings,
    )?;
    for variant in silent {
        fleet.configure(variant.name(), variant.name())?;
        fleet.lab.reeve(&["vm", "start", variant.name(), "--no-wait"])?;
    }
    // A good guest beside them registers as if they were not there.
    fleet.configure("good", "good")?;
    fleet.lab.reeve(&["vm", "start", "good"])?;
    for variant in silent {
        let vm = fleet.wait_for_state(variant.name(), &["failed"])?;
        ensure!(vm["reason"] == "the guest did not register in its time and was terminated", "{vm}");
        let (id, name) = (vm["id"].as_str().context("no id")?, vm["name"].as_str().context("no name")?);
        ensure!(
            fleet.domains(id)?.is_empty() && !fleet.volumes()?.contains(name),
            "something of {name} is left"
        );
    }
    ensure!(fleet.vm("good")?["state"] == "running");
    fleet.lab.reeve(&["vm", "destroy", "good"])?;
    ensure!(fleet.promised("host1")? + fleet.promised("host2")? == 0);
    fleet.lab.finish()
}

#[test]
fn names_never_reach_libvirt_as_markup_and_a_deaf_guest_is_destroyed() -> Result<()> {
    let settings =
        CoordinatorSettings { shutdown_timeout: Duration::from_secs(6), ..CoordinatorSettings::default() };
    let fleet = Fleet::new("names", 1, &[Variant::Deaf], &settings)?;
    for name in ["</name><x/>", "../etc/passwd", "-rf", "$(reboot)", "a b", "a\\u0000b", "\\u202egnp.exe"] {
        let refused = fleet.create(
            "config",
            &format!(r#"{{"name":"{name}","setup":"deaf","owner":"ada","team":"engines"}}"#),
        );
        let words = format!("{:#}", refused.err().context("a hostile name was taken")?);
        ensure!(words.contains("name"), "{words}");
    }
    let title = r#"</title></domain><x a='b'> & "quoted" ]]>"#;
    let definition = serde_json::json!({"name": "web", "title": title, "setup": "deaf", "owner": "ada", "team": "engines"});
    fleet.create("config", &definition.to_string())?;
    fleet.lab.reeve(&["vm", "start", "web"])?;
    let vm = fleet.vm("web")?;
    let id = vm["id"].as_str().context("no id")?;
    let shown = fleet.lab.virsh(&fleet.lab.host(1), &["desc", id, "--title"])?;
    ensure!(shown.trim() == title, "libvirt shows {shown:?}");

    fleet.lab.reeve(&["vm", "shutdown", "web"])?;
    let vm = fleet.wait_for_state(id, &["stopped"])?;
    ensure!(vm["reason"] == "did not shut down in its time and was destroyed", "{vm}");
    fleet.lab.finish()
}
