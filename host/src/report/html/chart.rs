//! Charts as SVG texts. Knows numbers and words, and nothing of runs; colours are the page's, by class.

use std::fmt::Write as _;

/// Size of a chart, in its own units; it is shown as wide as there is room.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// One direction of a chart.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// The value at its beginning.
    pub from: f64,
    /// The value at its end.
    pub to: f64,
    /// How its values follow each other.
    pub scale: Scale,
}

/// How values follow each other along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Each step adds.
    Linear,
    /// Each step adds, and they are milliseconds: steps are round as times are.
    Time,
    /// Each step multiplies.
    Logarithmic,
}

/// Steps along a time, in milliseconds: what people count in.
const TIME_STEPS: [f64; 20] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3,
    120e3, 300e3, 600e3, 1_800e3,
];

impl Axis {
    /// From 0 to at least this, ending on a round number.
    pub fn up_to(most: f64) -> Self {
        let step = round_step(most, 4.0);
        Self { from: 0.0, to: (most / step).ceil().max(1.0) * step, scale: Scale::Linear }
    }

    /// Exactly this.
    pub fn linear(from: f64, to: f64) -> Self {
        Self { from, to: if to > from { to } else { from + 1.0 }, scale: Scale::Linear }
    }

    /// From 0 to this time in milliseconds.
    pub fn time(to: f64) -> Self {
        Self { scale: Scale::Time, ..Self::linear(0.0, to) }
    }

    /// Exactly this, each step multiplying; both ends are positive.
    pub fn logarithmic(from: f64, to: f64) -> Self {
        Self { scale: Scale::Logarithmic, ..Self::linear(from, to.max(from * 1.01)) }
    }

    /// Where a value lies, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.scale == Scale::Logarithmic {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }

    /// Round values along it: some four of them, or of a logarithmic one 1, 2 and 5 of each power of ten.
    pub fn ticks(&self) -> Vec<f64> {
        if self.scale == Scale::Logarithmic {
            let mut ticks = Vec::new();
            let mut power = 10_f64.powf(self.from.log10().floor());
            while power <= self.to {
                for factor in [1.0, 2.0, 5.0] {
                    let value = power * factor;
                    if value >= self.from * 0.999 && value <= self.to * 1.001 {
                        ticks.push(value);
                    }
                }
                power *= 10.0;
            }
            // Over many powers the ones alone are enough.
            if ticks.len() > 9 {
                ticks.retain(|value| (value.log10() - value.log10().round()).abs() < 1e-6);
            }
            return ticks;
        }
        let step = match self.scale {
            Scale::Time => time_step(self.to - self.from),
            _ => round_step(self.to - self.from, 4.0),
        };
        let first = (self.from / step).ceil() * step;
        let mut ticks = Vec::new();
        let mut value = first;
        while value <= self.to + step * 1e-6 && ticks.len() < 20 {
            ticks.push(value);
            value += step;
        }
        ticks
    }
}

/// The step that divides a time into six parts or fewer.
fn time_step(span: f64) -> f64 {
    let wanted = span / 6.0;
    // Beyond half an hour, whole hours.
    let hours = || round_step(span / 3_600e3, 6.0).max(1.0) * 3_600e3;
    TIME_STEPS.into_iter().find(|step| *step >= wanted).unwrap_or_else(hours)
}

/// The round number that divides `span` into about so many steps.
fn round_step(span: f64, steps: f64) -> f64 {
    let wanted = span / steps;
    if !wanted.is_normal() || wanted < 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(wanted.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= wanted * 0.999);
    factor.unwrap_or(10.0) * power
}

/// A chart that is being drawn.
#[derive(Debug)]
pub struct Chart {
    x: Axis,
    y: Axis,
    body: String,
}

impl Chart {
    /// An empty one, with the words of both axes.
    pub fn new(
        x: Axis,
        y: Axis,
        x_word: impl Fn(f64) -> String,
        y_word: impl Fn(f64) -> String,
    ) -> Self {
        let mut chart = Self { x, y, body: String::new() };
        let right = WIDTH - RIGHT;
        for value in y.ticks() {
            let at = chart.y(value);
            let word = escape(&y_word(value));
            chart.draw(format_args!(
                r#"<path class="grid" d="M{LEFT} {at:.1}H{right}"/><text class="y" x="{:.1}" y="{:.1}">{word}</text>"#,
                LEFT - 7.0,
                at + 4.0
            ));
        }
        for value in x.ticks() {
            let at = chart.x(value);
            let word = escape(&x_word(value));
            // A word at the very end would stand half outside.
            let end = if at > right - 24.0 { " end" } else { "" };
            let below = HEIGHT - BOTTOM;
            chart.draw(format_args!(
                r#"<path class="tick" d="M{at:.1} {below}v4"/><text class="x{end}" x="{:.1}" y="{:.1}">{word}</text>"#,
                if end.is_empty() { at } else { right },
                HEIGHT - 8.0
            ));
        }
        chart
    }

    fn draw(&mut self, what: std::fmt::Arguments<'_>) {
        // A text takes whatever is written to it.
        let _ = self.body.write_fmt(what);
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// A bar from `from` to `to`, between two heights, that says `title` to whoever points at it.
    pub fn bar(&mut self, class: &str, [from, to]: [f64; 2], [low, high]: [f64; 2], title: &str) {
        let (x, y) = (self.x(from), self.y(high));
        let gap = if self.x(to) - x > 4.0 { 1.0 } else { 0.0 };
        let (width, height) = ((self.x(to) - x - gap).max(0.4), self.y(low) - y);
        if height > 0.0 {
            let title = escape(title);
            self.draw(format_args!(
                r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"><title>{title}</title></rect>"#
            ));
        }
    }

    /// A line through points; where one is missing it is broken.
    pub fn line(&mut self, class: &str, points: &[Option<(f64, f64)>]) {
        let mut path = String::new();
        let mut lone = Vec::new();
        for run in points.split(Option::is_none) {
            if let [Some((x, y))] = run {
                lone.push((self.x(*x), self.y(*y)));
                continue;
            }
            for (number, (x, y)) in run.iter().flatten().enumerate() {
                let letter = if number == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{letter}{:.1} {:.1}", self.x(*x), self.y(*y));
            }
        }
        if !path.is_empty() {
            self.draw(format_args!(r#"<path class="line {class}" d="{path}"/>"#));
        }
        for (x, y) in lone {
            self.draw(format_args!(
                r#"<circle class="dot {class}" cx="{x:.1}" cy="{y:.1}" r="2"/>"#
            ));
        }
    }

    /// A line that keeps each height until the next point, and the last one to the end.
    pub fn steps(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (number, (x, y)) in points.iter().enumerate() {
            let (x, y) = (self.x(*x), self.y(*y));
            let _ = match number {
                0 => write!(path, "M{x:.1} {y:.1}"),
                _ => write!(path, "H{x:.1}V{y:.1}"),
            };
        }
        if !path.is_empty() {
            self.draw(format_args!(
                r#"<path class="line {class}" d="{path}H{:.1}"/>"#,
                WIDTH - RIGHT
            ));
        }
    }

    /// A line from bottom to top that says what happened there.
    pub fn seam(&mut self, at: f64, title: &str) {
        let (x, title) = (self.x(at), escape(title));
        let below = HEIGHT - BOTTOM;
        self.draw(format_args!(
            r#"<path class="seam" d="M{x:.1} {TOP}V{below}"><title>{title}</title></path>"#
        ));
    }

    /// The whole chart; `label` says what it shows to those who cannot see it.
    pub fn finish(self, label: &str) -> String {
        let (label, body) = (escape(label), self.body);
        format!(
            r#"<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{body}</svg>"#
        )
    }
}

/// A value with its interval, and behind it what unscored samples could make of it, on an axis of their own.
pub fn interval(
    axis: Axis,
    value: f64,
    range: Option<[f64; 2]>,
    bounds: Option<[f64; 2]>,
) -> String {
    const LONG: f64 = 180.0;
    let place = |value: f64| 4.0 + axis.place(value) * (LONG - 8.0);
    let mut body = format!(r#"<path class="track" d="M4 10H{}"/>"#, LONG - 4.0);
    if let Some([low, high]) = bounds {
        let (from, to) = (place(low), place(high));
        let _ = write!(
            body,
            r#"<rect class="bounds" x="{from:.1}" y="5" width="{:.1}" height="10"/>"#,
            (to - from).max(0.5)
        );
    }
    if let Some([low, high]) = range {
        let (from, to) = (place(low), place(high));
        let _ = write!(body, r#"<path class="whisker" d="M{from:.1} 6v8m0-4H{to:.1}m0-4v8"/>"#);
    }
    let at = place(value);
    format!(
        r#"<svg class="interval" viewBox="0 0 {LONG} 20" aria-hidden="true">{body}<circle cx="{at:.1}" cy="10" r="3.5"/></svg>"#
    )
}

/// A text inside of markup.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let table = [
            (Axis::up_to(87.0), vec![0.0, 50.0, 100.0]),
            (Axis::up_to(0.0), vec![0.0, 0.5, 1.0]),
            (Axis::linear(0.0, 1.0), vec![0.0, 0.5, 1.0]),
            (Axis::time(90_000.0), vec![0.0, 15e3, 30e3, 45e3, 60e3, 75e3, 90e3]),
            (Axis::time(30_000e3), vec![0.0, 7_200e3, 14_400e3, 21_600e3, 28_800e3]),
            (Axis::logarithmic(3.0, 130.0), vec![5.0, 10.0, 20.0, 50.0, 100.0]),
            (Axis::logarithmic(0.9, 110_000.0), vec![1.0, 10.0, 100.0, 1e3, 1e4, 1e5]),
        ];
        for (axis, expected) in table {
            let found = axis.ticks();
            assert!(
                found.len() == expected.len()
                    && found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6 * b.max(1.0)),
                "{axis:?}: {found:?}"
            );
        }
    }

    #[test]
    fn what_is_drawn_lies_inside_and_holds_no_markup_of_others() {
        let word = |value: f64| format!("<{value}>");
        let mut chart = Chart::new(Axis::linear(0.0, 10.0), Axis::up_to(4.0), word, word);
        chart.bar("a", [2.0, 4.0], [0.0, 3.0], "\"<script>\"");
        chart.line("b", &[Some((0.0, 1.0)), Some((5.0, 400.0)), None, Some((6.0, 1.0))]);
        chart.steps("c", &[(0.0, 1.0), (20.0, 2.0)]);
        let svg = chart.finish("a & b");
        assert!(svg.contains("&quot;&lt;script&gt;&quot;") && !svg.contains("<script"), "{svg}");
        assert!(svg.contains("aria-label=\"a &amp; b\""));
        assert!(
            svg.contains("M50.0 133.0L301.0 10.0\""),
            "what is too high ends at the top: {svg}"
        );
        assert!(svg.contains("<circle"), "a lone point is a dot");
        assert!(svg.contains("H552.0V"), "{svg}");
    }

    #[test]
    fn an_interval_shows_value_range_and_bounds() {
        let svg = interval(Axis::linear(0.0, 1.0), 0.5, Some([0.25, 0.75]), Some([0.0, 1.0]));
        for part in [r#"cx="90.0""#, "M47.0 6", "H133.0", r#"x="4.0" y="5" width="172.0""#] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
    }
}
