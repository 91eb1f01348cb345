//! Owns the files given to `create -f`: reading them, and turning them into the API's documents. A mistake is named
//! with its file and line, together with all the others in that file.
//!
//! Must not: ask the coordinator; whether a named image exists is its business.

mod document;
mod kinds;
mod schema;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use self::document::{Document, Mistake};
pub(super) use self::kinds::Defined;
use super::exit::Exit;
use super::failure::Failure;

/// The largest file read: thousands of definitions fit, and a wrong file (a disk image) is not read to its end.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// How many mistakes are told at once: the first few are the ones that get corrected.
const MISTAKES_SHOWN_MAX: usize = 20;

/// Reads what is defined in the file `path`, one thing or a list of them; `-` is `input`.
///
/// # Errors
/// Why it cannot be read, or every mistake in it.
pub(super) fn read<T: Defined>(path: &Path, input: &mut dyn Read) -> Result<Vec<T>, Failure> {
    let (shown, text) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), bounded(input))
    } else {
        (path.display().to_string(), File::open(path).and_then(|mut file| bounded(&mut file)))
    };
    let text = text.map_err(|error| {
        Failure::new(Exit::Usage, format!("{shown} cannot be read: {error}"))
            .advise("-f takes a file in HOCON or JSON, or - for standard input")
    })?;
    parse(&text).map_err(|mistakes| tell::<T>(&shown, &mistakes))
}

fn bounded(source: &mut dyn Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    let length = source.take(FILE_SIZE_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > FILE_SIZE_MAX {
        return Err(io::Error::other(format!("it is larger than {} KiB", FILE_SIZE_MAX >> 10)));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

fn parse<T: Defined>(text: &str) -> Result<Vec<T>, Vec<Mistake>> {
    let document = Document::parse(text).map_err(|mistake| vec![mistake])?;
    let mut mistakes = Vec::new();
    let checked: Vec<_> = match document.root.as_array() {
        Some(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let path = document::item("", index);
                (
                    path.clone(),
                    schema::check_object(&document, T::WHAT, T::keys(), value, &path, &mut mistakes),
                )
            })
            .collect(),
        None => {
            let value =
                schema::check_object(&document, T::WHAT, T::keys(), &document.root, "", &mut mistakes);
            vec![(String::new(), value)]
        }
    };
    if !mistakes.is_empty() {
        mistakes.sort_by_key(|mistake| mistake.line);
        return Err(mistakes);
    }
    if checked.is_empty() {
        return Err(vec![Mistake {
            line: None,
            message: format!("the list is empty: it should hold {}", T::WHAT),
        }]);
    }
    let read = |(path, value): (String, serde_json::Value)| {
        serde_json::from_value(value)
            .map_err(|error| vec![Mistake { line: document.line(&path), message: error.to_string() }])
    };
    checked.into_iter().map(read).collect()
}

fn tell<T: Defined>(file: &str, mistakes: &[Mistake]) -> Failure {
    let mut lines: Vec<String> = mistakes
        .iter()
        .take(MISTAKES_SHOWN_MAX)
        .map(|mistake| match mistake.line {
            Some(line) => format!("{file}:{line}: {}", mistake.message),
            None => format!("{file}: {}", mistake.message),
        })
        .collect();
    if let Some(more) = mistakes.len().checked_sub(MISTAKES_SHOWN_MAX).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    Failure::new(Exit::Usage, lines.join("\n"))
        .advise("nothing was created; `create --help` of the same command shows an example")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{NewConfiguration, NewImage, NewSetup};

    fn read_text<T: Defined>(text: &str) -> Result<Vec<T>, String> {
        read(Path::new("-"), &mut text.as_bytes()).map_err(|failure| failure.to_string())
    }

    const SETUP: &str = "name = small\nrealm = lab\nimage = debian\ncores = 2\nmemory = 2 GiB\n";

    #[test]
    fn a_setup_is_read_with_all_its_keys() {
        let text = format!(
            "{SETUP}devices {{ nvidia-a100 = 1, \"b|a\" = 250 permille, \"*\" = 2 }}\ncpu-features = [ avx2 ]\nnuma-nodes = 2\nhuge-pages = 1 GiB\nhost-labels {{ rack = [ r1, r2 ], tier = web }}\navoid-host-labels {{ rack = r9 }}\naffinity = [ {{ together = {{ label {{ app = db }} }} }}, {{ apart = owner }}\n {{ apart = {{ vm = \"5f0c0000-0000-4000-8000-000000000001\" }} }} ]\nvirt-type = qemu\nmachine = pc\ncpu-model = Haswell-noTSX\nnetworks = [ default, lab ]\ndebug {{ console = on }}\nlabels {{ tier = web, \"rack.row\" = 3 }}"
        );
        let setups: Vec<NewSetup> = read_text(&text).unwrap();
        insta::assert_json_snapshot!(setups, @r#"
        [
          {
            "name": "small",
            "realm": "lab",
            "image": "debian",
            "cores": 2,
            "memory": "2 GiB",
            "devices": {
              "*": 2,
              "a|b": "250 permille",
              "nvidia-a100": 1
            },
            "virt-type": "qemu",
            "machine": "pc",
            "cpu-model": "Haswell-noTSX",
            "cpu-features": [
              "avx2"
            ],
            "numa-nodes": 2,
            "huge-pages": "1 GiB",
            "host-labels": {
              "rack": [
                "r1",
                "r2"
              ],
              "tier": [
                "web"
              ]
            },
            "avoid-host-labels": {
              "rack": [
                "r9"
              ]
            },
            "affinity": [
              {
                "together": {
                  "label": {
                    "app": "db"
                  }
                }
              },
              {
                "apart": "owner"
              },
              {
                "apart": {
                  "vm": "5f0c0000-0000-4000-8000-000000000001"
                }
              }
            ],
            "networks": [
              "default",
              "lab"
            ],
            "debug": {
              "console": true,
              "vnc": false
            },
            "labels": {
              "rack.row": "3",
              "tier": "web"
            }
          }
        ]
        "#);
    }

    #[test]
    fn json_lists_are_read_too() {
        let images: Vec<NewImage> = read_text(
            r#"[{"name":"a","realm":"r","volume":"a.qcow2","operating-system":"Debian 12"},
                {"name":"b","realm":"r","volume":"b.img","format":"raw","operating-system":"Debian 12"}]"#,
        )
        .unwrap();
        assert_eq!(images.iter().map(|image| image.format.as_str()).collect::<Vec<_>>(), ["qcow2", "raw"]);
        let configurations: Vec<NewConfiguration> = read_text(
            "name = web\nsetup = small\nowner = ann\nteam = physics\ndrives = [{ drive = data, read-only = on }]",
        )
        .unwrap();
        assert!(
            configurations
                .iter()
                .all(|configuration| configuration.drives.iter().all(|drive| drive.read_only))
        );
    }

    #[test]
    fn the_examples_in_the_help_can_be_created() {
        let images: Vec<NewImage> = read_text(include_str!("../arguments/examples/image.conf")).unwrap();
        let setups: Vec<NewSetup> = read_text(include_str!("../arguments/examples/setup.conf")).unwrap();
        let configurations: Vec<NewConfiguration> =
            read_text(include_str!("../arguments/examples/configuration.conf")).unwrap();
        assert_eq!((images.len(), setups.len(), configurations.len()), (1, 1, 2));
        assert_eq!(setups.iter().map(|setup| &setup.image).collect::<Vec<_>>(), [&images[0].name]);
    }

    #[test]
    fn every_kind_of_mistake_is_named_with_its_line() {
        let text = "name = \"</name><x/>\"\nrealm = lab\nimage = [debian]\ncores = two\nmemroy = 2 GiB\nmemory = 2\ndevices = none\nvirt-type = xen\ndebug { vcn = on }\nnetworks = default\nlabels { a = [] }";
        insta::assert_snapshot!(read_text::<NewSetup>(text).unwrap_err());
        let message = read_text::<NewConfiguration>(
            "name = web\nsetup = small\ndrives = [\n  { read-only = maybe }\n  data\n]",
        )
        .unwrap_err();
        insta::assert_snapshot!(message);
    }

    #[test]
    fn every_mistake_about_where_vms_live_is_named_with_its_line() {
        let text = format!(
            "{SETUP}devices {{\n  \"a|b\" = 1\n  \"b|a\" = 2\n }}\ncpu-features = [ \"<x/>\" ]\nnuma-nodes = all\nhuge-pages = 4 MiB\nhost-labels {{ rack = {{}} }}\naffinity = [\n  {{ apart = everybody }}\n  {{ near = owner }}\n  {{ together = owner, apart = team }}\n  {{ together = {{ vm = web }} }}\n  owner\n]"
        );
        insta::assert_snapshot!(read_text::<NewSetup>(&text).unwrap_err());
        for amount in ["0.5", "1000 permille", "-1", "250 per mille", "\"\"", "[1]"] {
            let said = read_text::<NewSetup>(&format!("{SETUP}devices {{ gpu = {amount} }}")).unwrap_err();
            assert!(said.contains("devices.gpu"), "{amount}: {said}");
        }
        let said = read_text::<NewSetup>(&format!("{SETUP}devices {{ \"a||b\" = 1 }}")).unwrap_err();
        assert!(said.contains("may not be empty"), "{said}");
    }

    #[test]
    fn what_cannot_be_a_definition_is_refused() {
        assert!(read_text::<NewSetup>("[]").unwrap_err().contains("the list is empty"));
        assert!(read_text::<NewSetup>("5").is_err());
        assert!(read_text::<NewSetup>("[5]").unwrap_err().contains("not a number"));
        let huge = format!("{SETUP}# {}", "x".repeat(2 << 20));
        assert!(read_text::<NewSetup>(&huge).unwrap_err().contains("larger than 1024 KiB"));
        let bytes: &[u8] = b"name = \xff";
        let failure = read::<NewSetup>(Path::new("-"), &mut { bytes }).unwrap_err();
        assert!(failure.to_string().contains("UTF-8"), "{failure}");
        let failure = read::<NewSetup>(Path::new("/nowhere/x.conf"), &mut io::empty()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("/nowhere/x.conf"), "{failure}");
    }
}
