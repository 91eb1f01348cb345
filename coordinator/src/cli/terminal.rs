//! Owns what is known of the terminal that answers are shown on: how wide it is and what it can draw. Asked once, when the
//! process starts.

pub use super::plot::Characters;

/// Where standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// How many characters fit a line.
    pub columns: usize,
    /// Which characters it can show.
    pub characters: Characters,
}

/// What a pipe, a file and a test get.
const COLUMNS_DEFAULT: usize = 80;

impl Default for Terminal {
    fn default() -> Self {
        Self { columns: COLUMNS_DEFAULT, characters: Characters::default() }
    }
}

impl Terminal {
    /// The one of this process; what is no terminal has 80 columns.
    #[must_use]
    pub fn of_this_process() -> Self {
        let width = terminal_size::terminal_size_of(std::io::stdout());
        let columns = width.map_or(COLUMNS_DEFAULT, |(width, _)| usize::from(width.0));
        Self { columns, characters: characters(|name| std::env::var(name).ok()) }
    }
}

/// What the locale in the environment promises. The first variable that is set decides, as for the C library.
fn characters(variable: impl Fn(&str) -> Option<String>) -> Characters {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()))
        .unwrap_or_default()
        .to_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") { Characters::Unicode } else { Characters::Ascii }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_what_can_be_shown() {
        for (all, language, expected) in [
            (None, Some("de_DE.UTF-8"), Characters::Unicode),
            (Some(""), Some("C.utf8"), Characters::Unicode),
            (Some("C"), Some("en_US.UTF-8"), Characters::Ascii),
            (None, None, Characters::Ascii),
        ] {
            let variable = |name: &str| match name {
                "LC_ALL" => all.map(str::to_owned),
                "LANG" => language.map(str::to_owned),
                _ => None,
            };
            assert_eq!(characters(variable), expected, "{all:?} {language:?}");
        }
    }
}
