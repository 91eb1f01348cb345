//! Owns the man pages: of commands, made of what `--help` shows; of configuration files, made of the examples that ship,
//! whose comments say what each key means.

use anyhow::Result;
use clap::Command;
use clap_mangen::Man;

const COORDINATOR_CONFIGURATION: &str = include_str!("../../../packaging/coordinator.conf");
const REALM_CONFIGURATION: &str = include_str!("../../../packaging/realms/primary.conf");
const AGENT_CONFIGURATION: &str = include_str!("../../../packaging/agent.conf");

/// What all pages show.
pub(crate) struct Manual<'a> {
    /// The day of the sources.
    pub(crate) date: &'a str,
    /// The product and its version.
    pub(crate) release: &'a str,
}

/// A page.
pub(crate) struct Page {
    /// Its file.
    pub(crate) file: String,
    /// In roff.
    pub(crate) text: Vec<u8>,
}

impl Manual<'_> {
    /// The pages of a command and of all below it.
    ///
    /// # Errors
    /// When one cannot be rendered.
    pub(crate) fn of_command(&self, command: Command, section: u8) -> Result<Vec<Page>> {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let mut pages = Vec::new();
        self.add(&command, section, &mut pages)?;
        Ok(pages)
    }

    fn add(&self, command: &Command, section: u8, pages: &mut Vec<Page>) -> Result<()> {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        let examples = command.get_after_long_help().or_else(|| command.get_after_help());
        let examples = examples.map(ToString::to_string);
        // What is below the options is shown as it stands, and not as a paragraph.
        // Names live as long as this short program.
        let shown: &'static str = Box::leak(name.clone().into_boxed_str());
        let plain = command.clone().name(shown).after_help("").after_long_help("").version("");
        let man = Man::new(plain)
            .title(name.to_uppercase())
            .section(section.to_string())
            .date(self.date)
            .source(self.release)
            .manual("reeve");
        let mut text = Vec::new();
        man.render_title(&mut text)?;
        man.render_name_section(&mut text)?;
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        if command.get_arguments().any(|argument| !argument.is_hide_set()) {
            man.render_options_section(&mut text)?;
        }
        if command.has_subcommands() {
            man.render_subcommands_section(&mut text)?;
        }
        if let Some(examples) = examples {
            text.extend_from_slice(b".SH NOTES\n");
            text.extend_from_slice(as_it_stands(&examples).as_bytes());
        }
        text.extend_from_slice(see_also(&name).as_bytes());
        pages.push(Page { file: format!("{name}.{section}"), text });
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            self.add(below, section, pages)?;
        }
        Ok(())
    }

    /// The pages of the configuration files.
    pub(crate) fn of_configurations(&self) -> Vec<Page> {
        vec![
            self.of_files(
                "reeve-agent.conf",
                "configuration of the agent of a KVM host",
                &[("/etc/reeve/agent.conf", AGENT_CONFIGURATION)],
                "The file may be missing. A mistake in it is named with file, line and key, and the agent does not start.",
            ),
            self.of_files(
                "reeve-coordinator.conf",
                "configuration of the coordinator and its realms",
                &[
                    ("/etc/reeve/coordinator.conf", COORDINATOR_CONFIGURATION),
                    ("/etc/reeve/realms/primary.conf", REALM_CONFIGURATION),
                ],
                "A mistake is named with file, line and key, and the coordinator does not start; \
                 reeve-coordinator check says the same without starting anything.",
            ),
        ]
    }

    fn of_files(&self, name: &str, about: &str, files: &[(&str, &str)], remark: &str) -> Page {
        let mut text = format!(
            ".TH {} 5 {} \"{}\" \"reeve\"\n.SH NAME\n{} \\- {about}\n.SH DESCRIPTION\n{}\n",
            escaped(name.to_uppercase()),
            escaped(self.date),
            self.release,
            escaped(name),
            escaped(remark)
        );
        for (path, contents) in files {
            text.push_str(&format!(".SH {}\n", escaped(path.to_uppercase())));
            text.push_str(&format!("As it is installed in {}:\n.PP\n", escaped(path)));
            text.push_str(&as_it_stands(contents));
        }
        text.push_str(&see_also(name));
        Page { file: format!("{name}.5"), text: text.into_bytes() }
    }
}

/// Lines as they are, in a font of one width.
fn as_it_stands(text: &str) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(escaped).collect();
    format!(".nf\n{}\n.fi\n", lines.join("\n"))
}

/// Text in which nothing is a request or an escape.
fn escaped(line: impl AsRef<str>) -> String {
    let line = line.as_ref().replace('\\', "\\e").replace('-', "\\-");
    // A line that begins like a request gets an empty character in front.
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

fn see_also(name: &str) -> String {
    let pages = [
        ("reeve", 1),
        ("reeve-agent.conf", 5),
        ("reeve-coordinator.conf", 5),
        ("reeve-agent", 8),
        ("reeve-coordinator", 8),
    ];
    let others: Vec<String> = pages
        .iter()
        .filter(|(page, _)| *page != name)
        .map(|(page, section)| format!(".BR {} ({section})", escaped(page)))
        .collect();
    format!(".SH \"SEE ALSO\"\n{}\n", others.join(",\n"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use reeve_coordinator::cli;

    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_examples() {
        let manual = Manual { date: "2026-11-28", release: "reeve 0" };
        let pages = manual.of_command(cli::Arguments::command(), 1).unwrap();
        assert!(pages.len() > 40, "{}", pages.len());
        let start = pages.iter().find(|page| page.file == "reeve-vm-start.1").unwrap();
        let text = String::from_utf8_lossy(&start.text);
        assert!(text.contains("reeve vm start") && text.contains(".nf"), "{text}");
    }

    #[test]
    fn what_looks_like_a_request_is_text() {
        assert_eq!(as_it_stands(".so /etc/shadow\na\\fB-b\n"), ".nf\n\\&.so /etc/shadow\na\\efB\\-b\n.fi\n");
    }

    #[test]
    fn the_agents_example_is_read_and_shows_every_key() {
        use reeve_agent::configuration::{Configuration, Settings};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.conf");
        std::fs::write(&path, AGENT_CONFIGURATION).unwrap();
        Configuration::load(Settings::default(), Some(&path)).unwrap();
        // Each line that is commented out and looks like a setting is one.
        let shown: String = AGENT_CONFIGURATION
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(shown.lines().count(), 8, "{shown}");
        std::fs::write(&path, shown).unwrap();
        Configuration::load(Settings::default(), Some(&path)).unwrap();
    }
}
