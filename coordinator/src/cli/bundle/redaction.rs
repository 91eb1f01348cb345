//! Owns the net below all that goes into a support bundle: what looks like a secret is taken out, wherever it stands. Pure.

/// What stands in a secret's place.
const INSTEAD: &str = "[redacted]";
/// How join lines begin.
const JOIN_LINE: &str = "reeve-join:";
/// Words that say that a secret follows, as keys of JSON or of settings.
const KEYS: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "community", "private-key", "private_key"];

/// The text without what looks like a secret.
pub(super) fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        // Keys in PEM: everything from the first line to the last, also where JSON has it on one line.
        if line.contains("PRIVATE KEY-----") {
            let begins = line.contains("-----BEGIN");
            let ends = line.contains("-----END");
            in_key = begins && !ends;
            out.push_str(INSTEAD);
            out.push('\n');
        } else if !in_key {
            out.push_str(&without_values(&without_join_lines(line)));
        }
    }
    out
}

fn without_join_lines(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(JOIN_LINE) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        out.push_str(JOIN_LINE);
        out.push_str(INSTEAD);
        let end = from.find(|character: char| {
            character.is_whitespace() || matches!(character, '"' | '\'' | '`' | '\\' | ',')
        });
        rest = end.and_then(|end| from.get(end..)).unwrap_or_default();
    }
    out + rest
}

/// `password = x`, `password: x`, `"password": "x"`, `password=x`: the value goes.
fn without_values(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut out = String::with_capacity(line.len());
    let mut from = 0;
    while let Some((start, end)) = next_value(&lower, from) {
        out.push_str(line.get(from..start).unwrap_or_default());
        out.push_str(INSTEAD);
        from = end;
    }
    out.push_str(line.get(from..).unwrap_or_default());
    out
}

/// Where the next secret's value stands: behind a key, perhaps a quote, and a colon or an equals sign.
fn next_value(lower: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = lower.as_bytes();
    let found = KEYS.iter().filter_map(|key| {
        let mut after = from;
        loop {
            let at = after + lower.get(after..)?.find(key)?;
            after = at + key.len();
            let skip = |mut at: usize, characters: &[u8]| {
                while bytes.get(at).is_some_and(|byte| characters.contains(byte)) {
                    at += 1;
                }
                at
            };
            let separator = skip(after, b"\\\"' \t");
            if !matches!(bytes.get(separator), Some(b':' | b'=')) {
                continue;
            }
            let start = skip(separator + 1, b"\\\"' \t");
            let is_open = matches!(bytes.get(start), None | Some(b'\n' | b'\r' | b'{' | b'['));
            let is_nothing = lower.get(start..).is_some_and(|rest| rest.starts_with("null"));
            if is_open || is_nothing {
                continue;
            }
            let is_quoted = bytes.get(start - 1).is_some_and(|byte| matches!(byte, b'"' | b'\''));
            let ends = |byte: &u8| match byte {
                b'\n' | b'\r' | b'"' | b'\'' | b'\\' => true,
                b' ' | b'\t' | b',' | b'}' | b']' | b';' => !is_quoted,
                _ => false,
            };
            let length = bytes.get(start..)?.iter().position(ends).unwrap_or(bytes.len() - start);
            return Some((start, start + length));
        }
    });
    found.min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_taken_out() {
        for (text, expected) in [
            ("password = hunter2\nuser = x", "password = [redacted]\nuser = x"),
            ("{\"password\": \"hun ter,2\", \"x\": 1}", "{\"password\": \"[redacted]\", \"x\": 1}"),
            ("\\\"Password\\\":\\\"hunter2\\\"", "\\\"Password\\\":\\\"[redacted]\\\""),
            ("snmp_priv_passwd=hunter2 ip=10.0.0.1", "snmp_priv_passwd=[redacted] ip=10.0.0.1"),
            ("token: hunter2; join-token for node-1", "token: [redacted]; join-token for node-1"),
            ("\"secret\": null, \"tokens\": 3", "\"secret\": null, \"tokens\": 3"),
            ("password {\n  file = /etc/x\n}", "password {\n  file = /etc/x\n}"),
            (
                "run reeve-agent join 'reeve-join:v1:c:7444:ab:hunter2' now",
                "run reeve-agent join 'reeve-join:[redacted]' now",
            ),
            (
                "a\n-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\nb",
                "a\n[redacted]\n[redacted]\nb",
            ),
            (
                "{\"k\": \"-----BEGIN EC PRIVATE KEY-----\\nhunter2\\n-----END EC PRIVATE KEY-----\"}\nb",
                "[redacted]\nb",
            ),
            ("nothing to hide: 5", "nothing to hide: 5"),
        ] {
            let told = redacted(text);
            assert_eq!(told, expected);
            assert!(!told.contains("hunter2"));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_hang(text in any::<String>()) {
            let _ = redacted(&text);
        }

        #[test]
        fn a_secret_behind_its_key_never_stays(
            before in "[a-z{\" ]{0,8}", key in 0..8_usize, between in "[ ]{0,2}[:=][ ]{0,2}", after in "[,} \n][a-z]{0,5}"
        ) {
            let text = format!("{before}{}{between}HUNTER2HUNTER2{after}", KEYS[key]);
            prop_assert!(!redacted(&text).contains("HUNTER2"), "{}", text);
        }
    }
}
