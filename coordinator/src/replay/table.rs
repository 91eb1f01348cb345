//! Owns taking a CSV file apart: a first line that names the columns, in any order, and lines with a field for each.
//! Fields may be quoted; lines end as on any system; a byte order mark, blank lines and columns nobody asked for are
//! passed over.
//!
//! Must not: know what the columns mean, or keep more than a line in memory.

use std::cell::Cell;
use std::io::{self, Read};

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use super::mistake::{Mistakes, quoted};

/// The longest line. Those of a trace have a hundred bytes; a file without line ends is no trace.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// What is read ahead of the line that is looked at.
const BUFFER_BYTES: usize = 64 << 10;
/// Columns of the first line that are named when one is missing.
const COLUMNS_SHOWN_MAX: usize = 12;

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A table that is being read. `N` columns are asked for.
pub(super) struct Table<R, const N: usize> {
    reader: Reader<Metered<R>>,
    names: [&'static str; N],
    places: [usize; N],
    width: usize,
    record: ByteRecord,
}

/// One line of a table.
pub(super) struct Row<'a, const N: usize> {
    /// The line it begins on, from 1.
    pub(super) line: u64,
    /// The fields in the order in which the columns were asked for, without the space around them.
    pub(super) fields: [Field<'a>; N],
}

/// One field.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    line: u64,
    column: &'static str,
    pub(super) text: &'a str,
}

impl<R: Read, const N: usize> Table<R, N> {
    /// Reads the first line. None when the columns are not all there, which is then among the mistakes.
    pub(super) fn open(source: R, names: [&'static str; N], mistakes: &mut Mistakes) -> Option<Self> {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            // The line feed alone, so that lines are counted right; a carriage return before it is space around a field.
            .terminator(Terminator::Any(b'\n'))
            .buffer_capacity(BUFFER_BYTES)
            .from_reader(Metered { source, is_ended: false, left: Cell::new(0) });
        let mut table = Self { reader, names, places: [0; N], width: 0, record: ByteRecord::new() };
        let line = table.advance(mistakes)?;
        let Some(line) = line else {
            mistakes
                .file(format!("the file is empty; its first line names the columns: {}", names.join(",")));
            return None;
        };
        let mut header = Vec::with_capacity(table.record.len());
        for field in &table.record {
            let Ok(text) = std::str::from_utf8(field) else {
                mistakes.last(line, NOT_TEXT.to_owned());
                return None;
            };
            header.push(text.trim_start_matches(BYTE_ORDER_MARK).trim());
        }
        let before = mistakes.len();
        for (name, place) in names.into_iter().zip(&mut table.places) {
            let mut found = header.iter().enumerate().filter(|(_, column)| **column == name);
            match (found.next(), found.next()) {
                (Some((index, _)), None) => *place = index,
                (Some(_), Some(_)) => {
                    mistakes.field(line, name, "there are two columns of this name".to_owned())
                }
                (None, _) => {
                    let shown: Vec<String> =
                        header.iter().take(COLUMNS_SHOWN_MAX).map(|name| quoted(name)).collect();
                    let message =
                        format!("there is no column of this name; the first line has {}", shown.join(", "));
                    mistakes.field(line, name, message);
                }
            }
        }
        table.width = header.len();
        (mistakes.len() == before).then_some(table)
    }

    /// The next line; none at the end, or when there are mistakes enough. A line that is no row is a mistake, and the one
    /// behind it is returned.
    pub(super) fn next(&mut self, mistakes: &mut Mistakes) -> Option<Row<'_, N>> {
        let line = loop {
            if mistakes.is_enough() {
                return None;
            }
            let line = self.advance(mistakes)??;
            if self.record.len() != self.width {
                let (found, width) = (self.record.len(), self.width);
                mistakes
                    .line(line, format!("the line has {}, the first one {width}", counted(found, "field")));
            } else if self.record.iter().any(|field| std::str::from_utf8(field).is_err()) {
                mistakes.line(line, NOT_TEXT.to_owned());
            } else {
                break line;
            }
        };
        let (record, names, places) = (&self.record, &self.names, &self.places);
        let fields = std::array::from_fn(|index| {
            let bytes = record.get(places[index]).unwrap_or_default();
            Field { line, column: names[index], text: std::str::from_utf8(bytes).unwrap_or_default().trim() }
        });
        Some(Row { line, fields })
    }

    /// Reads a line that is not blank, and returns its number; `Some(None)` at the end, none when the file cannot be read.
    fn advance(&mut self, mistakes: &mut Mistakes) -> Option<Option<u64>> {
        loop {
            self.reader.get_ref().left.set(LINE_BYTES_MAX + BUFFER_BYTES as u64);
            let line = self.reader.position().line();
            match self.reader.read_byte_record(&mut self.record) {
                Ok(false) => return Some(None),
                Ok(true) => {}
                Err(error) => {
                    mistakes.last(line, format!("the file cannot be read further: {}", cause(&error)));
                    return None;
                }
            }
            let is_blank =
                self.record.len() == 1 && self.record.iter().all(|field| field.trim_ascii().is_empty());
            if !is_blank {
                let inside = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count();
                let behind = self.reader.position().line();
                return Some(Some(behind.saturating_sub(1 + u64::try_from(inside).unwrap_or(0)).max(1)));
            }
        }
    }
}

const NOT_TEXT: &str = "the line is not UTF-8 text; save the table as CSV in UTF-8";

/// What the library says, without its own words about where.
fn cause(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    }
}

impl Field<'_> {
    /// A whole number from 0 to `max`; anything else is a mistake.
    pub(super) fn number(&self, max: u64, mistakes: &mut Mistakes) -> Option<u64> {
        let text = self.text;
        let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let found = match text.parse::<u64>() {
            Ok(number) if number <= max => return Some(number),
            _ if text.is_empty() => "there is nothing here".to_owned(),
            _ if is_number && text.starts_with('-') => format!("{} is negative", quoted(text)),
            _ if is_whole => format!("{} is too much", quoted(text)),
            _ if is_number => format!("{} is not a whole number", quoted(text)),
            _ => format!("{} is not a number", quoted(text)),
        };
        self.refuse(format!("{found}; a whole number from 0 to {max} belongs here"), mistakes);
        None
    }

    /// Adds a mistake about the field.
    pub(super) fn refuse(&self, message: String, mistakes: &mut Mistakes) {
        mistakes.field(self.line, self.column, message);
    }
}

/// `1 field`, `2 fields`.
fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// A source that stops when too much is read without a line's end, and that always ends with one.
struct Metered<R> {
    source: R,
    is_ended: bool,
    /// What may be read before the next line is asked for.
    left: Cell<u64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::other(format!("a line has more than {} KiB", LINE_BYTES_MAX >> 10)));
        }
        let length = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(buffer.len());
        let mut count = self.source.read(&mut buffer[..length])?;
        if count == 0 && length > 0 && !self.is_ended {
            self.is_ended = true;
            buffer[0] = b'\n';
            count = 1;
        }
        self.left.set(self.left.get().saturating_sub(u64::try_from(count).unwrap_or(u64::MAX)));
        Ok(count)
    }
}
