//! Names that mean something to XML, paths or shells reach neither libvirt nor the host.

use anyhow::Result;
use reeve_tests::harness::TestLab;
use reeve_tests::harness::vm::{Vm, define_guests};
use reeve_tests::image::Variant;
use reeve_tests::lab::CoordinatorSettings;

#[test]
fn markup_in_names_is_refused_and_in_titles_is_only_text() -> Result<()> {
    let lab = TestLab::with_product("names", 1, &[Variant::Good], &CoordinatorSettings::default())?;
    define_guests(&lab, Variant::Good, 1)?;
    let file = lab.description().directory.join("hostile.json");
    let create = |name: &str, title: &str| -> Result<i32> {
        let text = serde_json::json!({
            "name": name, "title": title, "setup": "good", "owner": "ann", "team": "physics"
        });
        std::fs::write(&file, text.to_string())?;
        let output = lab.try_reeve(&["config", "create", "-f", &file.to_string_lossy()])?;
        Ok(output.status.code().unwrap_or(-1))
    };
    for name in ["</name><x/>", "../../etc/passwd", "a;reboot", "$(reboot)", "a b", "-rf", "a\u{0}b", ""] {
        assert_eq!(create(name, "harmless")?, 2, "{name:?} was not refused as it should");
    }
    assert_eq!(create("harmless", "</title><x/> & ]]> \" '")?, 0);
    let vm = Vm::start(&lab, "harmless")?;
    let definition = lab.virsh(&lab.host(1), &["dumpxml", vm.id()])?;
    assert!(definition.contains("&lt;/title&gt;&lt;x/&gt;"), "{definition}");
    assert!(!definition.contains("<x/>"), "{definition}");
    vm.destroy()?;
    lab.finish()
}
