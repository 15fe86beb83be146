//! A line chart as SVG, colored by the style sheet.

use std::fmt::Write as _;

use crate::html::axis::Axis;
use crate::html::markup::{COLORS, escape};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 340.0;
/// Room for the axis title, turned on its side, and for the widest mark beside it, `200.0 MB/s`.
const LEFT: f64 = 112.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;
const _: () = assert!(
    LEFT + RIGHT < WIDTH && TOP + BOTTOM < HEIGHT,
    "there is room for the lines between the axes"
);

/// A line.
#[derive(Clone, Debug)]
pub(crate) struct ChartLine {
    /// What it shows.
    pub(crate) name: String,
    /// Which color it has.
    pub(crate) color: usize,
    /// Whether it is dashed, to tell it from another of its color.
    pub(crate) is_dashed: bool,
    /// Its points, in order.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// Its title.
    pub(crate) title: &'static str,
    /// From left to right.
    pub(crate) x: Axis,
    /// From bottom to top.
    pub(crate) y: Axis,
    /// Its lines.
    pub(crate) lines: Vec<ChartLine>,
}

impl Chart {
    /// Whether there is anything to see.
    pub(crate) fn has_points(&self) -> bool {
        self.lines.iter().any(|line| line.points.len() > 1)
    }

    /// The chart with its legend.
    pub(crate) fn render(&self) -> String {
        let title = escape(self.title);
        let mut html = format!(
            "<section><h2>{title}</h2>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"{title}\">\n"
        );
        self.grid(&mut html);
        for line in &self.lines {
            self.line(&mut html, line);
        }
        html.push_str("</svg>\n<ul class=\"legend\">\n");
        for line in &self.lines {
            let dashed = if line.is_dashed { " dashed" } else { "" };
            let (color, name) = (line.color % COLORS, escape(&line.name));
            let _ = writeln!(html, "<li><i class=\"swatch k{color}{dashed}\"></i>{name}</li>");
        }
        html.push_str("</ul></section>\n");
        html
    }

    fn grid(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, text) in &self.y.ticks {
            let (y, text) = (self.y_of(*value), escape(text));
            let _ = writeln!(
                svg,
                "<line class=\"g\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
                 <text class=\"e\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                LEFT - 8.0,
                y + 4.0,
            );
        }
        for (value, text) in &self.x.ticks {
            let (x, text) = (self.x_of(*value), escape(text));
            let _ = writeln!(
                svg,
                "<line class=\"g\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
                 <text class=\"m\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>",
                bottom + 18.0,
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"m t\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 6.0,
            escape(self.x.title),
        );
        let _ = writeln!(
            svg,
            "<text class=\"m t\" transform=\"translate(13 {:.1}) rotate(-90)\">{}</text>",
            f64::midpoint(TOP, bottom),
            escape(self.y.title),
        );
    }

    fn line(&self, svg: &mut String, line: &ChartLine) {
        let mut points = String::new();
        for (x, y) in &line.points {
            let _ = write!(points, "{:.1},{:.1} ", self.x_of(*x), self.y_of(*y));
        }
        let dashed = if line.is_dashed { " dashed" } else { "" };
        let _ = writeln!(
            svg,
            "<polyline class=\"l c{}{dashed}\" points=\"{}\"><title>{}</title></polyline>",
            line.color % COLORS,
            points.trim_end(),
            escape(&line.name),
        );
    }

    fn x_of(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y_of(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }
}
