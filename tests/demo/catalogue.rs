//! Owns what the demo defines: the texts a person would write for an image, setups and configurations.

/// The configurations, in the order in which they are started.
pub(crate) const NAMES: [&str; 4] = ["web-1", "web-2", "batch-1", "web-3"];

/// The setup of the first of them.
pub(crate) const FIRST_SETUP: &str = "web";

/// The guest image.
pub(crate) const IMAGE: &str = r#"name = guest
realm = lab
volume = guest-good.qcow2
operating-system = "Linux (test guest)"
"#;

/// A small and a larger one.
pub(crate) const SETUPS: &str = r#"[
  { name = web, realm = lab, image = guest, cores = 1, memory = 128 MiB, debug { console = on } }
  { name = batch, realm = lab, image = guest, cores = 2, memory = 256 MiB, debug { console = on } }
]
"#;

/// Four VMs to be started.
pub(crate) const CONFIGURATIONS: &str = r#"[
  { name = web-1, setup = web, owner = ann, team = physics, title = "The first web server" }
  { name = web-2, setup = web, owner = ann, team = physics, title = "The second web server" }
  { name = batch-1, setup = batch, owner = bob, team = biology, title = "Nightly computation", project = genomes }
  { name = web-3, setup = web, owner = ann, team = physics, title = "The third web server" }
]
"#;
