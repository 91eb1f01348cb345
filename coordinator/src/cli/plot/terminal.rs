//! Owns a chart as text: braille dots where the terminal can show them, plain ASCII elsewhere. No colours: lines are told
//! apart by letters that stand on them, so that a picture can be piped, mailed and pasted into a comment.
//!
//! ```text
//!   title
//!   y label
//!    1.0 ┤            ⡠⠊        the canvas: cells of 2 × 4 dots, or of one character
//!    0.5 ┤      a⠤⠒⠉
//!        └┴───────┴───────┴
//!         0.0    0.5     1.0
//!               x label
//! ```

use reeve_common::text::printable;

use super::scale::{Scale, axes, clipped};
use super::{Chart, Gaps, LINES_MAX, Line, gaps, wrapped};

/// Rows of the picture, without what stands around it: what fits a terminal of 24 lines with a legend and notes.
const ROWS: usize = 16;
/// Narrower than this there is no picture.
const COLUMNS_MIN: usize = 40;
/// Wider than this it is not easier to read.
const COLUMNS_MAX: usize = 120;
/// Ticks upwards.
const TICKS_UP: u8 = 5;
/// Columns that a tick across takes, with its label.
const TICK_COLUMNS: usize = 12;
/// How far apart a line's letters stand.
const LETTER_DISTANCE: usize = 16;
/// The longest title, name or note, in bytes.
const TEXT_LENGTH_MAX: usize = 1000;

/// Which characters a terminal can show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Characters {
    /// All of Unicode.
    #[default]
    Unicode,
    /// Letters, digits and signs.
    Ascii,
}

impl Characters {
    /// Dots of a cell, across and upwards.
    const fn dots(self) -> (usize, usize) {
        match self {
            Self::Unicode => (2, 4),
            Self::Ascii => (1, 1),
        }
    }

    /// The frame: upright, its tick, its corner, level, its tick.
    const fn frame(self) -> [char; 5] {
        match self {
            Self::Unicode => ['│', '┤', '└', '─', '┴'],
            Self::Ascii => ['|', '+', '+', '-', '+'],
        }
    }

    /// What the only main line looks like in the legend and, in ASCII, on the canvas; and what marks its gaps.
    const fn main(self) -> (&'static str, char, char) {
        match self {
            Self::Unicode => ("⠒⠒", '⠒', '×'),
            Self::Ascii => ("*", '*', 'x'),
        }
    }
}

/// `chart` in so many columns.
pub(in crate::cli) fn terminal(chart: &Chart, columns: usize, characters: Characters) -> String {
    let columns = columns.clamp(COLUMNS_MIN, COLUMNS_MAX);
    let across = u8::try_from(columns / TICK_COLUMNS).unwrap_or(u8::MAX);
    let (x, y) = axes(chart, across, TICKS_UP);
    let labels = y.ticks();
    let lines: Vec<&Line> = chart.lines.iter().take(LINES_MAX).collect();
    let never = if lines.iter().any(|line| !line.gaps().is_empty()) { NEVER.len() } else { 0 };
    let margin = labels.iter().map(|(_, label)| label.len()).max().unwrap_or(0).max(never);
    let mut canvas = Canvas::new(columns.saturating_sub(margin + 3), characters);
    let letters = letters(&lines);
    for (index, line) in lines.iter().enumerate() {
        canvas.draw(line, (x, y), letters.get(index).copied().flatten(), (index, lines.len()));
    }
    let mut rows = vec![shown(&chart.title, characters), shown(&chart.y.label, characters)];
    rows.extend(never_rows(&lines, &letters, x, &canvas, margin));
    rows.extend(canvas.rows(y, &labels, margin));
    rows.extend(level_axis(x, &chart.x.label, &canvas, margin));
    if lines.len() > 1 {
        rows.extend(legend(&lines, &letters, columns, characters));
    }
    let notes =
        chart.notes.iter().flat_map(|note| wrapped(&shown(note, characters), columns.saturating_sub(2)));
    rows.extend(notes.map(|note| format!("  {note}")));
    rows.iter().map(|row| format!("{}\n", row.trim_end())).collect()
}

/// What stands beside the marks where a line has no value.
const NEVER: &str = "never";

/// Foreign text fit for the terminal.
fn shown(text: &str, characters: Characters) -> String {
    let text = printable(text, TEXT_LENGTH_MAX);
    match characters {
        Characters::Unicode => text,
        Characters::Ascii => {
            let plain = text.replace('…', "...").replace('×', "x").replace('−', "-");
            plain.chars().map(|shown| if shown.is_ascii() { shown } else { '?' }).collect()
        }
    }
}

/// A letter for each line; none for the only main one, which is drawn plain.
fn letters(lines: &[&Line]) -> Vec<Option<char>> {
    let plain = lines.iter().filter(|line| line.main).count() == 1;
    let mut alphabet = 'a'..='z';
    lines
        .iter()
        .map(|line| if lines.len() == 1 || (plain && line.main) { None } else { alphabet.next() })
        .collect()
}

/// Cells with dots and letters on them.
struct Canvas {
    columns: usize,
    characters: Characters,
    /// For each cell, row by row from the top, its dots as in the Unicode block of braille.
    dots: Vec<u8>,
    /// For each cell what stands there instead of dots.
    signs: Vec<Option<char>>,
}

/// The bits of a braille character's dots: for each of two columns four from the top.
const BRAILLE: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

impl Canvas {
    fn new(columns: usize, characters: Characters) -> Self {
        let cells = columns * ROWS;
        Self { columns, characters, dots: vec![0; cells], signs: vec![None; cells] }
    }

    /// The column and the row from the top of a place given in shares, in dots.
    fn dot(&self, (across, up): (f64, f64)) -> (usize, usize) {
        let (wide, high) = self.characters.dots();
        let (columns, rows) = (self.columns * wide, ROWS * high);
        (nearest(across, columns), rows - 1 - nearest(up, rows))
    }

    fn draw(&mut self, line: &Line, (x, y): (Scale, Scale), letter: Option<char>, place: (usize, usize)) {
        let places: Vec<(f64, f64)> =
            line.points.iter().map(|(at, value)| (x.share(*at), y.share(*value))).collect();
        let mut touched: Vec<Option<usize>> = vec![None; self.columns];
        let alone = |index: usize| index.checked_sub(1).and_then(|before| places.get(before));
        for (index, end) in places.iter().enumerate() {
            let start = alone(index).filter(|start| start.1.is_finite()).unwrap_or(end);
            if let Some((start, end)) = clipped(*start, *end).filter(|_| end.1.is_finite()) {
                self.segment(self.dot(start), self.dot(end), letter, &mut touched);
            }
        }
        let Some(letter) = letter else { return };
        // Letters of lines that lie on each other take turns.
        let (index, count) = place;
        let first = LETTER_DISTANCE * (2 * index + 1) / (2 * count.max(1));
        for column in (first..self.columns).step_by(LETTER_DISTANCE) {
            if let Some(row) = touched.get(column).copied().flatten() {
                self.sign(column, row, letter);
            }
        }
    }

    fn sign(&mut self, column: usize, row: usize, sign: char) {
        if let Some(cell) = self.signs.get_mut(row * self.columns + column) {
            *cell = Some(sign);
        }
    }

    /// Sets the dots of a straight line, and notes which row of each column it touched last.
    fn segment(
        &mut self,
        start: (usize, usize),
        end: (usize, usize),
        letter: Option<char>,
        touched: &mut [Option<usize>],
    ) {
        let (wide, high) = self.characters.dots();
        let steps = start.0.abs_diff(end.0).max(start.1.abs_diff(end.1)).max(1);
        let between =
            |from: usize, to: usize, step: usize| (from * (steps - step) + to * step + steps / 2) / steps;
        for step in 0..=steps {
            let (across, down) = (between(start.0, end.0, step), between(start.1, end.1, step));
            let (column, row) = (across / wide, down / high);
            if let Some(touched) = touched.get_mut(column) {
                *touched = Some(row);
            }
            if self.characters == Characters::Ascii {
                self.sign(column, row, letter.unwrap_or(self.characters.main().1));
                continue;
            }
            let bit = BRAILLE.get(across % wide).and_then(|column| column.get(down % high)).copied();
            if let Some(cell) = self.dots.get_mut(row * self.columns + column) {
                *cell |= bit.unwrap_or(0);
            }
        }
    }

    /// The canvas with the upright axis beside it.
    fn rows(&self, y: Scale, labels: &[(f64, String)], margin: usize) -> Vec<String> {
        let [upright, tick, ..] = self.characters.frame();
        let (_, high) = self.characters.dots();
        let row_of = |value: f64| self.dot((0.0, y.share(value))).1 / high;
        (0..ROWS)
            .map(|row| {
                let label = labels.iter().find(|(value, _)| row_of(*value) == row);
                let text = label.map_or("", |(_, label)| label.as_str());
                let bar = if label.is_some() { tick } else { upright };
                let cells: String = (0..self.columns).map(|column| self.cell(column, row)).collect();
                format!("{text:>margin$} {bar}{cells}")
            })
            .collect()
    }

    fn cell(&self, column: usize, row: usize) -> char {
        let index = row * self.columns + column;
        let dots = self.dots.get(index).copied().unwrap_or(0);
        match self.signs.get(index).copied().flatten() {
            Some(sign) => sign,
            None if dots == 0 => ' ',
            None => char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' '),
        }
    }

    /// The column of a place on the level axis.
    fn column(&self, share: f64) -> usize {
        nearest(share, self.columns)
    }
}

/// The nearest of `count` places to a share of their span.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a length
fn nearest(share: f64, count: usize) -> usize {
    let last = count.saturating_sub(1);
    ((share.clamp(0.0, 1.0) * last as f64).round() as usize).min(last)
}

/// A row above the canvas for each set of places where lines have no value, with their letters.
fn never_rows(
    lines: &[&Line],
    letters: &[Option<char>],
    x: Scale,
    canvas: &Canvas,
    margin: usize,
) -> Vec<String> {
    let row = |found: &Gaps| -> String {
        let column = |at: f64| canvas.column(x.share(at));
        let places: Vec<_> = found.places.iter().map(|(from, to)| column(*from)..=column(*to)).collect();
        let letter = |line: &usize| letters.get(*line).copied().flatten();
        let mark = |line: &usize| letter(line).unwrap_or(canvas.characters.main().2);
        let marks: Vec<char> = found.lines.iter().map(mark).collect();
        let cells = (0..canvas.columns).zip(marks.iter().cycle()).map(|(column, mark)| {
            if places.iter().any(|place| place.contains(&column)) { *mark } else { ' ' }
        });
        format!("{NEVER:>margin$}  {}", cells.collect::<String>())
    };
    gaps(lines.iter().copied()).iter().map(row).collect()
}

/// The level axis, its labels and what it measures.
fn level_axis(x: Scale, label: &str, canvas: &Canvas, margin: usize) -> [String; 3] {
    let [.., corner, level, tick] = canvas.characters.frame();
    let mut axis = vec![level; canvas.columns];
    let mut labels = String::new();
    for (value, label) in x.ticks() {
        let column = canvas.column(x.share(value));
        if let Some(place) = axis.get_mut(column) {
            *place = tick;
        }
        let start = (column + margin + 2).saturating_sub(label.len() / 2);
        if labels.is_empty() || start > labels.len() {
            labels = format!("{labels:<start$}{label}");
        }
    }
    let middle = margin + 2 + canvas.columns / 2;
    let label = shown(label, canvas.characters);
    let start = middle.saturating_sub(label.chars().count() / 2);
    let axis: String = axis.into_iter().collect();
    [format!("{:margin$} {corner}{axis}", ""), labels, format!("{:start$}{label}", "")]
}

/// Which letter is which line.
fn legend(lines: &[&Line], letters: &[Option<char>], columns: usize, characters: Characters) -> Vec<String> {
    let mut rows = vec![String::new()];
    for (line, letter) in lines.iter().zip(letters) {
        let mark = letter.map_or_else(|| characters.main().0.to_owned(), String::from);
        let entry = format!("  {mark} {}", shown(&line.name, characters));
        let used = rows.last().map_or(0, |row| row.chars().count());
        if used > 0 && used + entry.chars().count() > columns {
            rows.push(String::new());
        }
        if let Some(row) = rows.last_mut() {
            row.push_str(&entry);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, single};
    use super::*;

    #[test]
    fn several_lines_in_braille() {
        insta::assert_snapshot!(terminal(&example(), 80, Characters::Unicode), @r"
        barrier against square
        cost
        never                                                          b×b×b×b×b×b×b×b×
           10 ┤                                                  ⢀⠇⡇
              │                                                  ⡜⢸
              │                                                 ⢠⠃⡜
            8 ┤                                                ⢀⠎⢀⠇
              │                                                ⡜ ⡜
              │                                               ⡜ ⢠⠃
            6 ┤                                              ⡸ ⢀⠎
              │                                             ⡜  ⡜
              │                                           ⡰⠊ ⢀⠎
            4 ┤                                         ⡠⠊  ⢀⠜                      ⢀⣀⠤
              │                                      ⢀⡠⠋  ⢀⠔⠁                 ⣀⣀⠤a⠒⠉⠁
              │                                   ⣀⠔⠉⠁  ⡠⠒⠁            ⢀⣀⠤⠤⠒⠊⠉
            2 ┤                              ⢀⡠⠤⠊⠉  ⣀⡠⠔b       ⢀⣀a⠤⠤⠒⠊⠉⠁
              │                        ⢀⣀⡠⠤⠒⠊⠁⢀⣀⠤⠤⠒⠉  ⢀⣀⣀⠤⠤⠔⠒⠊⠉⠁
              │               ⢀⣀⣀⡠⠤⢔⣒⣒⣉b⠤⠤⣒⣒⣊⡩⠥⠤⠔a⠒⠊⠉⠉⠁
            0 ┤⣀⣀a⣀⣠⣤⣤⣤b⣴⡶⠶⠶⠿⠿⠷⠮⠭a⠛⠓⠒⠒⠉⠉⠉⠉
              └┴─────────────┴─────────────┴──────────────┴─────────────┴─────────────┴
              0.0           0.2           0.4            0.6           0.8           1.0
                                              memory.load
          a square  b barrier  ⠒⠒ total
          vms = 10
        ");
    }

    #[test]
    fn several_lines_in_ascii() {
        let text = terminal(&example(), 60, Characters::Ascii);
        assert!(text.is_ascii(), "{text}");
        insta::assert_snapshot!(text, @r"
        barrier against square
        cost
        never                                           xbxbxbxbxbx
           10 +                                    *b
              |                                    *b
              |                                    *b
            8 +                                   *b
              |                                   *b
              |                                  * b
            6 +                                 * b
              |                                **b
              |                               ** b
            4 +                             ** bb               aaa
              |                           *** bb           aaaaa
              |                        **** bbb       aaaaaa
            2 +                     **** bbb    aaaaaaa
              |                *****bbbbbaaaaaaaa
              |        ********bbbbbaaaaa
            0 +*********bbaaaa
              ++---------+---------+----------+---------+---------+
              0.0       0.2       0.4        0.6       0.8       1.0
                                    memory.load
          a square  b barrier  * total
          vms = 10
        ");
    }

    #[test]
    fn one_line_has_no_legend() {
        let points = vec![(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (1.0, 1.0)];
        insta::assert_snapshot!(terminal(&single(points), 40, Characters::Unicode), @r"
        one
        y
        1.0 ┤                 ⡏⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉
            │                 ⡇
            │                 ⡇
        0.8 ┤                 ⡇
            │                 ⡇
            │                 ⡇
        0.6 ┤                 ⡇
            │                 ⡇
            │                 ⡇
        0.4 ┤                 ⡇
            │                 ⡇
            │                 ⡇
        0.2 ┤                 ⡇
            │                 ⡇
            │                 ⡇
        0.0 ┤⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⡇
            └┴────────────────┴───────────────┴
            0.0              0.5             1.0
                              x
        ");
    }

    #[test]
    fn whatever_is_drawn_stays_within_its_columns() {
        let extremes = [f64::MAX, f64::MIN, 1e-320, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0];
        let points =
            extremes.iter().enumerate().map(|(x, y)| (f64::from(u8::try_from(x).unwrap()), *y)).collect();
        let mut chart = single(points);
        chart.title = "\u{1b}[2J".to_owned();
        for columns in [0, 40, 80, 10_000] {
            for characters in [Characters::Unicode, Characters::Ascii] {
                let text = terminal(&chart, columns, characters);
                let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
                assert!(widest <= columns.clamp(COLUMNS_MIN, COLUMNS_MAX), "{text}");
                assert!(!text.contains('\u{1b}'), "{text}");
            }
        }
        assert!(terminal(&single(Vec::new()), 80, Characters::Ascii).lines().count() > ROWS);
    }
}
