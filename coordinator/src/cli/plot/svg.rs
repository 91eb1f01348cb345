//! Owns a chart as an SVG image: one file without anything around it, readable on white and on dark pages, the same bytes
//! for the same chart.
//!
//! ```text
//!   title
//!   ┌ y label ───────────┐
//!   │  plot area         │   PLOT: left, top, width, height
//!   └────────────────────┘
//!          x label
//!   ── legend   ── legend
//!   notes
//! ```

use std::fmt::Write as _;

use reeve_common::text::printable;

use super::scale::{Scale, axes, clipped};
use super::{Chart, LINES_MAX, Line, gaps, wrapped};

/// The image's width; its height depends on the legend and the notes.
const WIDTH: f64 = 720.0;
/// The plot area: left edge, top edge, width and height.
const PLOT: (f64, f64, f64, f64) = (64.0, 64.0, 632.0, 320.0);
/// Height of a row of the legend or of a note.
const ROW: f64 = 20.0;
/// Where legend and notes begin at the left.
const LEFT: f64 = 16.0;
/// About the width of a character at the size of the legend.
const CHARACTER: f64 = 7.2;
/// As many characters of a note fit a line.
const NOTE_CHARACTERS: usize = 104;
/// Upright words need a shaded part of this width.
const UPRIGHT: f64 = 18.0;
/// The short line before a name in the legend, with its space.
const SAMPLE: f64 = 34.0;
/// Points that lie this near to the straight line between their neighbours are left out.
const FLAT: f64 = 0.04;
/// The longest title, name or note, in bytes.
const TEXT_LENGTH_MAX: usize = 1000;

/// Grey for words and ticks, and the lines' colours: each stands out from white and from near-black alike. With the
/// dashes below, lines can be told apart without seeing colours.
const GREY: &str = "#767676";
const MAIN: &str = "#2f81f7";
const COLOURS: [&str; LINES_MAX] = [
    "#d9630d", "#1f9d55", "#a06ee8", "#d6409f", "#0e8f9c", "#b07a10", "#e5484d", "#5f7fbf", "#6b8e23",
    "#c2643b", "#8a6fb0", "#3e8e7e",
];
const DASHES: [&str; 4] = ["", "7 4", "2 3", "10 3 2 3"];

/// `chart` as the text of an SVG file.
pub(in crate::cli) fn svg(chart: &Chart) -> String {
    let (x, y) = axes(chart, 8, 6);
    let lines: Vec<(&Line, Pen)> = pens(chart);
    let (legend, legend_height) = if lines.len() > 1 { legend(&lines) } else { (String::new(), 0.0) };
    let (_, top, _, height) = PLOT;
    let notes_top = top + height + 62.0 + legend_height;
    let notes =
        chart.notes.iter().flat_map(|note| wrapped(&printable(note, TEXT_LENGTH_MAX), NOTE_CHARACTERS));
    let notes: Vec<String> = notes.collect();
    let whole = notes_top + f64::from(u16::try_from(notes.len()).unwrap_or(u16::MAX)) * ROW;
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {whole}\" role=\"img\" \
         font-family=\"system-ui, 'DejaVu Sans', Verdana, sans-serif\" font-size=\"13\" fill=\"{GREY}\">\n\
         <title>{0}</title>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"17\" font-weight=\"600\">{0}</text>\n\
         <text x=\"{LEFT}\" y=\"50\">{1}</text>\n",
        text(&chart.title),
        text(&chart.y.label),
    );
    out.push_str(&frame(x, y, &chart.x.label));
    out.push_str(&never(&lines, x));
    for (line, pen) in &lines {
        out.push_str(&drawn(line, *pen, x, y));
    }
    out.push_str(&legend);
    for (number, note) in notes.iter().enumerate() {
        let down = notes_top + f64::from(u16::try_from(number).unwrap_or(u16::MAX)) * ROW;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{down}\" font-size=\"12\">{}</text>",
            indent(note),
            text(note.trim_start())
        );
    }
    out.push_str("</svg>\n");
    out
}

/// Where a line of a note begins; what continues one is set in.
fn indent(note: &str) -> f64 {
    if note.starts_with(' ') { LEFT + 2.0 * CHARACTER } else { LEFT }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
struct Pen {
    colour: &'static str,
    width: &'static str,
    dash: &'static str,
}

/// The lines with their pens; those that the chart is about come last and so lie on top.
fn pens(chart: &Chart) -> Vec<(&Line, Pen)> {
    let lines = || chart.lines.iter().take(LINES_MAX);
    let only_main = lines().filter(|line| line.main).count() == 1;
    let mut pens: Vec<(&Line, Pen)> = lines()
        .enumerate()
        .map(|(index, line)| {
            if only_main && line.main {
                return (line, Pen { colour: MAIN, width: "3", dash: "" });
            }
            let colour = COLOURS.get(index).copied().unwrap_or(MAIN);
            (line, Pen { colour, width: "2", dash: DASHES.get(index % DASHES.len()).copied().unwrap_or("") })
        })
        .collect();
    pens.sort_by_key(|(line, _)| line.main);
    pens
}

/// Foreign text as text of an SVG file.
fn text(text: &str) -> String {
    let printable = printable(text, TEXT_LENGTH_MAX);
    printable.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A length with one decimal, without what says nothing.
fn length(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn across(x: Scale, value: f64) -> f64 {
    let (left, _, width, _) = PLOT;
    left + x.share(value).clamp(0.0, 1.0) * width
}

fn place((share_across, share_up): (f64, f64)) -> (f64, f64) {
    let (left, top, width, height) = PLOT;
    (left + share_across * width, top + (1.0 - share_up) * height)
}

/// The axes with their grid, ticks and labels.
fn frame(x: Scale, y: Scale, label: &str) -> String {
    let (left, top, width, height) = PLOT;
    let (right, bottom) = (left + width, top + height);
    let mut out = format!("<g stroke=\"{GREY}\" stroke-opacity=\"0.28\">\n");
    let mut labels = String::new();
    for (value, label) in y.ticks() {
        let (_, down) = place((0.0, y.share(value)));
        let (at, baseline, end) = (length(down), length(down + 4.5), left - 8.0);
        let _ = writeln!(out, "<path d=\"M{left} {at}H{right}\"/>");
        let _ = writeln!(labels, "<text x=\"{end}\" y=\"{baseline}\" text-anchor=\"end\">{label}</text>");
    }
    for (value, label) in x.ticks() {
        let (at, baseline) = (length(across(x, value)), bottom + 20.0);
        let _ = writeln!(out, "<path d=\"M{at} {top}V{bottom}\"/>");
        let _ = writeln!(labels, "<text x=\"{at}\" y=\"{baseline}\" text-anchor=\"middle\">{label}</text>");
    }
    let (middle, baseline) = (left + width / 2.0, bottom + 40.0);
    let _ = write!(
        out,
        "</g>\n<path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"{GREY}\"/>\n{labels}\
         <text x=\"{middle}\" y=\"{baseline}\" text-anchor=\"middle\">{}</text>\n",
        text(label)
    );
    out
}

/// Shades where lines have no value, once for all that have none at the same places.
fn never(lines: &[(&Line, Pen)], x: Scale) -> String {
    let (_, top, _, height) = PLOT;
    let mut out = String::new();
    for (row, found) in gaps(lines.iter().map(|(line, _)| *line)).iter().enumerate() {
        let named = found.lines.iter().filter_map(|number| lines.get(*number));
        let names: Vec<&str> = named.map(|(line, _)| line.name.as_str()).collect();
        let said = if lines.len() == 1 { "never".to_owned() } else { format!("never: {}", names.join(", ")) };
        let down = top + 18.0 + f64::from(u16::try_from(row).unwrap_or(u16::MAX)) * ROW;
        for (from, to) in &found.places {
            let (from, to) = (across(x, *from), across(x, *to));
            let (start, wide) = (length(from), length((to - from).max(1.0)));
            let _ = writeln!(
                out,
                "<rect x=\"{start}\" y=\"{top}\" width=\"{wide}\" height=\"{height}\" fill=\"#e5484d\" fill-opacity=\"0.13\"/>"
            );
            out.push_str(&never_label(&said, (from, to), down));
        }
    }
    out
}

/// The words on a shaded part: level in its middle where they fit, else upright; nothing where it is but a line.
fn never_label(said: &str, (from, to): (f64, f64), down: f64) -> String {
    let (_, top, _, height) = PLOT;
    let (middle, room) = (from.midpoint(to), to - from);
    let (turned, down, at) = if room > wide(said) {
        (String::new(), down, length(middle))
    } else if room > UPRIGHT {
        let (at, down) = (length(middle + 4.5), top + height / 2.0);
        (format!(" transform=\"rotate(-90 {at} {down})\""), down, at)
    } else {
        return String::new();
    };
    let said = text(said);
    format!("<text x=\"{at}\" y=\"{down}\" text-anchor=\"middle\" fill=\"#e5484d\"{turned}>{said}</text>\n")
}

/// About how wide a text is.
fn wide(text: &str) -> f64 {
    f64::from(u16::try_from(text.chars().count()).unwrap_or(u16::MAX)) * CHARACTER
}

/// A line as one path, its parts between gaps drawn apart.
fn drawn(line: &Line, pen: Pen, x: Scale, y: Scale) -> String {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    let shares = line.points.iter().map(|(at, value)| (x.share(*at), y.share(*value)));
    let mut last: Option<(f64, f64)> = None;
    for end in shares {
        let start = last.filter(|start| start.1.is_finite()).unwrap_or(end);
        if let Some((start, end)) = clipped(start, end).filter(|_| end.1.is_finite()) {
            let (start, end) = (place(start), place(end));
            match parts.last_mut().filter(|part| part.last().is_some_and(|last| near(*last, start))) {
                Some(part) => part.push(end),
                None => parts.push(vec![start, end]),
            }
        }
        last = Some(end);
    }
    let path: String = parts.iter().map(|part| path(&straightened(part))).collect();
    let Pen { colour, width, dash } = pen;
    let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
    format!(
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"{dash}/>\n"
    )
}

fn near(left: (f64, f64), right: (f64, f64)) -> bool {
    (left.0 - right.0).abs() < 1e-6 && (left.1 - right.1).abs() < 1e-6
}

/// The points without those that lie on the straight way between the kept ones.
fn straightened(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let mut passed: Vec<(f64, f64)> = Vec::new();
    for &point in points {
        let start = kept.last().copied().unwrap_or(point);
        if passed.iter().any(|between| distance(*between, start, point) > FLAT) {
            kept.extend(passed.last().copied());
            passed.clear();
        }
        if kept.is_empty() {
            kept.push(point);
        } else {
            passed.push(point);
        }
    }
    kept.extend(passed.last().copied());
    kept
}

/// How far a point is from the line through two others.
fn distance(point: (f64, f64), start: (f64, f64), end: (f64, f64)) -> f64 {
    let (way_x, way_y) = (end.0 - start.0, end.1 - start.1);
    let size = span(way_x, way_y);
    if size < 1e-9 {
        return span(point.0 - start.0, point.1 - start.1);
    }
    (way_x * (point.1 - start.1) - way_y * (point.0 - start.0)).abs() / size
}

/// Not `f64::hypot`: the C library has it since 2.35, and distributions with 2.34 are to run this program. Within a picture
/// nothing comes near what the plain formula cannot do.
fn span(across: f64, down: f64) -> f64 {
    (across * across + down * down).sqrt()
}

fn path(points: &[(f64, f64)]) -> String {
    points.iter().enumerate().fold(String::new(), |mut path, (index, (across, down))| {
        let letter = if index == 0 { "M" } else { "L" };
        let _ = write!(path, "{letter}{} {}", length(*across), length(*down));
        path
    })
}

/// The legend in rows below the plot, and its height.
fn legend(lines: &[(&Line, Pen)]) -> (String, f64) {
    let (_, top, _, height) = PLOT;
    let (mut across, mut down) = (LEFT, top + height + 66.0);
    let mut out = String::new();
    for (line, Pen { colour, width, dash }) in lines {
        let wide = SAMPLE + wide(&printable(&line.name, TEXT_LENGTH_MAX)) + 18.0;
        if across > LEFT && across + wide > WIDTH {
            (across, down) = (LEFT, down + ROW);
        }
        let (start, end, middle) = (length(across), length(across + SAMPLE - 8.0), down - 4.5);
        let (words, name) = (length(across + SAMPLE), text(&line.name));
        let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
        let _ = writeln!(
            out,
            "<path d=\"M{start} {middle}H{end}\" stroke=\"{colour}\" stroke-width=\"{width}\"{dash}/>\
             <text x=\"{words}\" y=\"{down}\">{name}</text>"
        );
        across += wide;
    }
    (out, down - top - height - 66.0 + ROW + 10.0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, single};
    use super::*;

    #[test]
    fn the_same_chart_gives_the_same_bytes() {
        assert_eq!(svg(&example()), svg(&example()));
        let points = (0..=200_u8).map(|step| (f64::from(step), f64::from(step) / 3.0)).collect();
        let straight = svg(&single(points));
        assert!(straight.contains("d=\"M64 "), "{straight}");
        assert!(straight.len() < 4000, "a straight line takes two points: {straight}");
    }

    #[test]
    fn names_never_become_markup_and_numbers_are_always_finite() {
        let mut chart = example();
        chart.title = "</title><script>\"&\u{1b}".to_owned();
        chart.lines[0].name = "<b>".to_owned();
        chart.notes.push("a & b".to_owned());
        chart.lines.push(Line {
            name: "wild".to_owned(),
            main: false,
            points: vec![(0.0, f64::MAX), (0.5, f64::MIN), (0.7, f64::NAN)],
        });
        let image = svg(&chart);
        for forbidden in ["<script>", "<b>", "\u{1b}", "NaN", "inf"] {
            assert!(!image.contains(forbidden), "{forbidden} in {image}");
        }
        assert!(image.contains("a &amp; b"));
    }

    /// The relative luminance of a colour, as the W3C defines it for contrast.
    fn luminance(colour: &str) -> f64 {
        let part = |from: usize| f64::from(u8::from_str_radix(&colour[from..from + 2], 16).unwrap()) / 255.0;
        let linear =
            |part: f64| if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) };
        0.2126 * linear(part(1)) + 0.7152 * linear(part(3)) + 0.0722 * linear(part(5))
    }

    #[test]
    fn every_colour_stands_out_from_white_and_from_near_black() {
        for colour in COLOURS.into_iter().chain([GREY, MAIN]) {
            let light = 1.05 / (luminance(colour) + 0.05);
            let dark = (luminance(colour) + 0.05) / (luminance("#0d1117") + 0.05);
            assert!(light >= 3.0 && dark >= 3.0, "{colour}: {light:.2} on white, {dark:.2} on near-black");
        }
    }
}
