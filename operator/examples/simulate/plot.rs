//! A day as an SVG picture: gateways over the ideal, and how full the fullest was.

use std::fmt::Write as _;

use super::day::{Day, Minute, Outcome};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 30.0;
const PANEL: f64 = 190.0;
const TOP: f64 = 44.0;
const BETWEEN: f64 = 54.0;
const HEIGHT: f64 = TOP + 2.0 * PANEL + BETWEEN + 34.0;

/// One of the two panels.
struct Panel {
    top: f64,
    /// Value at its upper end.
    most: f64,
    hours: (u32, u32),
}

impl Panel {
    fn x(&self, second: f64) -> f64 {
        let (from, to) = (f64::from(self.hours.0), f64::from(self.hours.1));
        LEFT + (second / 3_600.0 - from) / (to - from) * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - value / self.most)
    }

    fn frame(&self, svg: &mut String, title: &str) {
        text(svg, LEFT, self.top - 10.0, "start", title);
        for quarter in 0..=4 {
            let value = self.most * f64::from(quarter) / 4.0;
            let y = self.y(value);
            line(svg, (LEFT, y), (RIGHT, y), "#d0d7de", "");
            text(svg, LEFT - 8.0, y + 4.0, "end", &format!("{value:.0}"));
        }
        for hour in (self.hours.0..=self.hours.1).step_by(3) {
            let x = self.x(f64::from(hour) * 3_600.0);
            text(svg, x, self.top + PANEL + 18.0, "middle", &format!("{hour:02}:00"));
        }
    }

    /// A line that goes in steps.
    fn steps(&self, svg: &mut String, colour: &str, minutes: &[Minute], of: impl Fn(&Minute) -> f64) {
        let mut path = String::new();
        for (index, minute) in minutes.iter().enumerate() {
            let (x, y) = (self.x(minute.second.into()), self.y(of(minute)));
            let same = |other: usize| minutes.get(other).is_some_and(|other| of(other) == of(minute));
            // Of what stays the same only both ends are drawn.
            if index > 0 && same(index - 1) && same(index + 1) {
                continue;
            }
            let _ = match index {
                0 => write!(path, "M{x:.1} {y:.1}"),
                _ => write!(path, "H{x:.1}V{y:.1}"),
            };
        }
        let _ = writeln!(svg, r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>"#);
    }

    fn level(&self, svg: &mut String, value: f64, name: &str) {
        let y = self.y(value);
        line(svg, (LEFT, y), (RIGHT, y), "#57606a", "5 4");
        text(svg, RIGHT - 4.0, y - 5.0, "end", name);
    }
}

/// Draws the day as SVG.
pub(crate) fn plot(day: &Day, outcome: &Outcome) -> String {
    let minutes = &outcome.minutes;
    let most = minutes.iter().map(|minute| minute.pods.max(minute.ideal)).max().unwrap_or(1);
    let pods = Panel { top: TOP, most: f64::from(most.div_ceil(4) * 4), hours: day.hours };
    let full = Panel { top: TOP + PANEL + BETWEEN, most: 20_000.0, hours: day.hours };
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">"#
    );
    let _ = writeln!(svg, "\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>");
    let title = format!(
        "Gateways for a day of {} users at the peak: used (blue) {:.3} × the ideal (orange); a zone is lost at 11:00",
        day.peak,
        outcome.ratio()
    );
    pods.frame(&mut svg, &title);
    pods.steps(&mut svg, "#d9730d", minutes, |minute| f64::from(minute.ideal));
    pods.steps(&mut svg, "#0969da", minutes, |minute| f64::from(minute.pods));
    full.frame(&mut svg, "Connections of the fullest gateway");
    full.level(&mut svg, f64::from(day.settings.target_connections), "targetConnectionsPerPod");
    full.level(&mut svg, day.max_connections as f64, "maxConnections");
    full.steps(&mut svg, "#0969da", minutes, |minute| minute.fullest as f64);
    svg.push_str("</svg>\n");
    svg
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, dashes: &str) {
    let _ = writeln!(
        svg,
        r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-dasharray="{dashes}"/>"#,
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ =
        writeln!(svg, r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="#24292f">{text}</text>"##);
}
