//! Scales of a chart: from values to places, and which values are written beside them. Pure.

/// One axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// What it shows.
    pub(crate) title: &'static str,
    min: f64,
    max: f64,
    is_logarithmic: bool,
    /// Values that are marked, and how they are written.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to a round number over `max`.
    pub(crate) fn linear(title: &'static str, max: f64, write: impl Fn(f64) -> String) -> Self {
        let step = round_step(max.max(1e-9) / 5.0);
        let count = (max / step).ceil().max(1.0);
        let ticks = (0..=count as u32).map(|index| {
            let value = f64::from(index) * step;
            (value, write(value))
        });
        Self { title, min: 0.0, max: count * step, is_logarithmic: false, ticks: ticks.collect() }
    }

    /// Powers of ten around what lies between `min` and `max`.
    pub(crate) fn logarithmic(
        title: &'static str,
        min: f64,
        max: f64,
        write: impl Fn(f64) -> String,
    ) -> Self {
        let floor = min.max(0.001).log10().floor() as i32;
        let ceiling = (max.max(0.001).log10().ceil() as i32).max(floor + 1);
        let mut ticks = Vec::new();
        for power in floor..=ceiling {
            let value = 10f64.powi(power);
            ticks.push((value, write(value)));
        }
        Self {
            title,
            min: 10f64.powi(floor),
            max: 10f64.powi(ceiling),
            is_logarithmic: true,
            ticks,
        }
    }

    /// Percentiles, each nine as wide as the one before; `nines` of them.
    pub(crate) fn percentiles(title: &'static str, nines: f64) -> Self {
        let max = nines.max(1.0);
        let marks = [
            (0.0, "0"),
            (0.5, "50"),
            (0.9, "90"),
            (0.99, "99"),
            (0.999, "99.9"),
            (0.9999, "99.99"),
            (0.99999, "99.999"),
            (0.999_999, "99.9999"),
        ];
        let ticks = marks.into_iter().map(|(part, text)| (nines_of(part), text.to_owned()));
        Self {
            title,
            min: 0.0,
            max,
            is_logarithmic: false,
            ticks: ticks.filter(|(value, _)| *value <= max + 1e-6).collect(),
        }
    }

    /// Where a value lies, 0.0 to 1.0.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = match self.is_logarithmic {
            true => {
                let (min, max) = (self.min.log10(), self.max.log10());
                (value.max(self.min).log10() - min) / (max - min)
            }
            false => (value - self.min) / (self.max - self.min),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// How many nines a part has: 1 for 0.9, 2 for 0.99.
pub(crate) fn nines_of(part: f64) -> f64 {
    // Not negative zero, which would be written so.
    -(1.0 - part).max(1e-12).log10() + 0.0
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= step * 0.999_999);
    times.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_end_on_round_numbers() {
        for (max, last, count) in
            [(9.3, 10.0, 6), (100.0, 100.0, 6), (0.07, 0.08, 5), (0.0, 2e-10, 2)]
        {
            let axis = Axis::linear("", max, |value| value.to_string());
            let (value, _) = axis.ticks.last().unwrap();
            assert!((value - last).abs() < 1e-9, "{max}: {value}");
            assert_eq!(axis.ticks.len(), count, "{max}");
        }
        let axis = Axis::linear("", 10.0, |value| value.to_string());
        assert!((axis.place(5.0) - 0.5).abs() < 1e-9);
        assert!((axis.place(11.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn logarithmic_axes_hold_all_values() {
        let axis = Axis::logarithmic("", 30.0, 4000.0, |value| format!("{value}"));
        let texts: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["10", "100", "1000", "10000"]);
        assert!((axis.place(100.0) - 1.0 / 3.0).abs() < 1e-9);
        assert!(axis.place(0.0).abs() < 1e-9);
    }

    #[test]
    fn each_nine_is_as_wide_as_the_other() {
        let axis = Axis::percentiles("", 4.0);
        assert!((axis.place(nines_of(0.99)) - 0.5).abs() < 1e-6);
        assert_eq!(axis.ticks.last().unwrap().1, "99.99");
    }
}
