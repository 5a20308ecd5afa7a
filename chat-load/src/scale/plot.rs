//! A run over time, as an SVG picture.

use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = WIDTH - 30.0;
const PANEL: f64 = 170.0;
const TOP: f64 = 44.0;
const BETWEEN: f64 = 60.0;

/// A line of a panel.
pub(super) struct Line {
    pub(super) name: String,
    /// Seconds from the start and values.
    pub(super) points: Vec<(f64, f64)>,
}

/// A panel of the picture.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
    /// Draws the logarithm of values from 1 on.
    pub(super) logarithmic: bool,
}

/// A span of the run, marked in all panels.
pub(super) struct Mark {
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
}

const COLOURS: [&str; 5] = ["#0969da", "#d9730d", "#1a7f37", "#8250df", "#57606a"];

/// Draws panels one below the other.
pub(super) fn draw(panels: &[Panel], marks: &[Mark], seconds: f64) -> String {
    let height = TOP + panels.len() as f64 * (PANEL + BETWEEN);
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">"#
    );
    let _ = writeln!(svg, "\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>");
    for (place, panel) in panels.iter().enumerate() {
        let scale = Scale::of(panel, TOP + place as f64 * (PANEL + BETWEEN), seconds);
        scale.frame(&mut svg, panel, marks);
        for (line, colour) in panel.lines.iter().zip(COLOURS) {
            scale.line(&mut svg, line, colour);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

struct Scale {
    top: f64,
    most: f64,
    seconds: f64,
    logarithmic: bool,
}

impl Scale {
    fn of(panel: &Panel, top: f64, seconds: f64) -> Self {
        let values = panel.lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
        let most = values.fold(1.0, f64::max);
        let most = if panel.logarithmic { 10_f64.powf(most.log10().ceil().max(1.0)) } else { round_up(most) };
        Self { top, most, seconds: seconds.max(1.0), logarithmic: panel.logarithmic }
    }

    fn x(&self, second: f64) -> f64 {
        LEFT + second / self.seconds * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        let share =
            if self.logarithmic { value.max(1.0).log10() / self.most.log10() } else { value / self.most };
        self.top + PANEL * (1.0 - share)
    }

    fn frame(&self, svg: &mut String, panel: &Panel, marks: &[Mark]) {
        for (place, mark) in marks.iter().enumerate() {
            let (from, to) = (self.x(mark.from), self.x(mark.to));
            let fill = if place % 2 == 0 { "#eef4fb" } else { "#fdf3ea" };
            let _ = writeln!(
                svg,
                r#"<rect x="{from:.1}" y="{:.1}" width="{:.1}" height="{PANEL}" fill="{fill}"/>"#,
                self.top,
                to - from
            );
            text(svg, (from + to) / 2.0, self.top + 14.0, "middle", "#57606a", &mark.name);
        }
        let levels: Vec<f64> = if self.logarithmic {
            std::iter::successors(Some(1.0), |level| Some(level * 10.0))
                .take_while(|level| *level <= self.most)
                .collect()
        } else {
            (0..=4).map(|quarter| self.most * f64::from(quarter) / 4.0).collect()
        };
        for level in levels {
            let y = self.y(level);
            let _ = writeln!(
                svg,
                r##"<line x1="{LEFT}" y1="{y:.1}" x2="{RIGHT}" y2="{y:.1}" stroke="#d0d7de"/>"##
            );
            let digits = usize::from(self.most < 10.0);
            text(svg, LEFT - 8.0, y + 4.0, "end", "#24292f", &format!("{level:.digits$}"));
        }
        let every = round_up(self.seconds / 12.0).max(5.0);
        let mut second = 0.0;
        while second <= self.seconds {
            text(
                svg,
                self.x(second),
                self.top + PANEL + 18.0,
                "middle",
                "#24292f",
                &format!("{second:.0} s"),
            );
            second += every;
        }
        text(svg, LEFT, self.top - 10.0, "start", "#24292f", &panel.title);
        let mut end = RIGHT;
        for (line, colour) in panel.lines.iter().zip(COLOURS).rev() {
            text(svg, end, self.top - 10.0, "end", colour, &line.name);
            end -= 14.0 + 6.4 * line.name.chars().count() as f64;
        }
    }

    fn line(&self, svg: &mut String, line: &Line, colour: &str) {
        let mut path = String::new();
        for (place, (second, value)) in line.points.iter().enumerate() {
            let step = if place == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{step}{:.1} {:.1}", self.x(*second), self.y(*value));
        }
        let _ = writeln!(svg, r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>"#);
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, colour: &str, text: &str) {
    let _ =
        writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{colour}">{text}</text>"#);
}

/// The next of 1, 2, 4, 8, 10, 20, …
fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * unit)
        .find(|step| *step >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, end) in [(0.7, 0.8), (1.0, 1.0), (3.2, 4.0), (75_000.0, 80_000.0), (81.0, 100.0)] {
            assert!((round_up(value) - end).abs() < 1e-9 * end, "{value}");
        }
    }

    #[test]
    fn a_picture_has_a_path_for_each_line() {
        let line = |name: &str| Line { name: name.into(), points: vec![(0.0, 1.0), (5.0, 250.0)] };
        let panel = |logarithmic| Panel { title: "t".into(), lines: vec![line("a"), line("b")], logarithmic };
        let marks = [Mark { name: "calm".into(), from: 1.0, to: 4.0 }];
        let svg = draw(&[panel(true), panel(false)], &marks, 5.0);
        assert_eq!((svg.matches("<path").count(), svg.matches("calm").count()), (4, 2));
        assert!(!svg.contains("NaN") && svg.ends_with("</svg>\n"));
    }
}
