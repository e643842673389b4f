//! Bar charts as SVG, written by hand: text that a diff can show.

use std::fmt::Write as _;

/// One bar.
pub(super) struct Bar<'a> {
    pub(super) name: &'a str,
    pub(super) ours: bool,
    pub(super) value: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    /// The value in words.
    pub(super) label: String,
}

/// A chart of bars that begin at zero, in the order given, on the page's own background.
pub(super) fn horizontal(title: &str, unit: &str, bars: &[Bar<'_>]) -> String {
    let most = bars.iter().map(|bar| bar.most).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP + STEP * bars.len() + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}: {unit}\">\n\
         <style>text {{ font: 13px sans-serif; fill: #57606a }} .title {{ font-weight: bold }} \
         .bar {{ fill: #8c959f }} .ours {{ fill: #0969da }} .spread {{ stroke: #24292f; stroke-width: 1.5 }}</style>\n\
         <text class=\"title\" x=\"0\" y=\"16\">{title}</text>\n<text x=\"0\" y=\"34\">{unit}, more is better</text>\n",
        title = escaped(title),
        unit = escaped(unit),
    );
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + STEP * index;
        let x = |value: f64| LEFT + value / most * LENGTH;
        let (baseline, middle) = (y + THICKNESS - 6, y + THICKNESS / 2);
        let class = if bar.ours { "bar ours" } else { "bar" };
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>\n\
             <rect class=\"{class}\" x=\"{LEFT:.0}\" y=\"{y}\" width=\"{:.1}\" height=\"{THICKNESS}\"/>\n\
             <line class=\"spread\" x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\"/>\n\
             <text x=\"{:.1}\" y=\"{baseline}\">{}</text>",
            LEFT - 8.0,
            escaped(bar.name),
            x(bar.value) - LEFT,
            x(bar.least),
            x(bar.most),
            x(bar.most) + 8.0,
            escaped(&bar.label),
        );
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// Pixels.
const WIDTH: usize = 720;
const TOP: usize = 48;
const BOTTOM: usize = 8;
const STEP: usize = 30;
const THICKNESS: usize = 20;
const LEFT: f64 = 150.0;
const LENGTH: f64 = 480.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let bar =
            |name, value, most| Bar { name, ours: name == "a", value, least: value / 2.0, most, label: "l".into() };
        let svg = horizontal("T & U", "requests/s", &[bar("a", 100.0, 200.0), bar("b", 50.0, 60.0)]);
        assert!(svg.contains("<rect class=\"bar ours\" x=\"150\" y=\"48\" width=\"240.0\" height=\"20\"/>"), "{svg}");
        assert!(svg.contains("<rect class=\"bar\" x=\"150\" y=\"78\" width=\"120.0\" height=\"20\"/>"), "{svg}");
        assert!(svg.contains("x1=\"270.0\" y1=\"58\" x2=\"630.0\" y2=\"58\""), "{svg}");
        assert!(svg.contains(">T &amp; U</text>") && svg.ends_with("</svg>\n"), "{svg}");
    }
}
