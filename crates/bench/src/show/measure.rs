//! Numbers as people read them.

use std::time::Duration;

const BINARY_UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1,234 messages`, `1 message`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `512 B`, `1.5 MiB`.
pub fn bytes(number: u64) -> String {
    let mut scaled = number as f64;
    let mut unit = 0;
    while scaled >= 1023.95 && unit + 1 < BINARY_UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let name = BINARY_UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 { format!("{number} {name}") } else { format!("{scaled:.1} {name}") }
}

/// `12.3 MB/s`; decimal units, as networks and disks are sold.
pub fn bytes_per_second(rate: f64) -> String {
    match rate {
        r if r >= 1e9 => format!("{:.2} GB/s", r / 1e9),
        r if r >= 1e6 => format!("{:.1} MB/s", r / 1e6),
        r if r >= 1e3 => format!("{:.1} kB/s", r / 1e3),
        r => format!("{r:.0} B/s"),
    }
}

/// `45,678/s`.
pub fn per_second(rate: f64) -> String {
    if rate >= 100.0 { format!("{}/s", count(rate.round() as u64)) } else { format!("{rate:.1}/s") }
}

/// `850 us`, `12.3 ms`, `4.56 s`, `2m 3s`, `1day 2h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.001 {
        return format!("{} us", duration.as_micros());
    }
    if seconds < 1.0 {
        return format!("{:.1} ms", seconds * 1e3);
    }
    if seconds < 60.0 {
        return format!("{seconds:.2} s");
    }
    let whole = duration.as_secs();
    // The two largest units say enough.
    let kept = match whole {
        ..3600 => whole,
        3600..86_400 => whole - whole % 60,
        _ => whole - whole % 3600,
    };
    humantime::format_duration(Duration::from_secs(kept)).to_string()
}

/// Units per second, without dividing by zero.
pub fn rate(amount: u64, elapsed: Duration) -> f64 {
    amount as f64 / elapsed.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_thousands_separators() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "message"), "1 message");
        assert_eq!(counted(2000, "message"), "2,000 messages");
    }

    #[test]
    fn sizes_use_binary_units() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn rates() {
        assert_eq!(bytes_per_second(1.5e9), "1.50 GB/s");
        assert_eq!(bytes_per_second(2_345_678.0), "2.3 MB/s");
        assert_eq!(bytes_per_second(10.0), "10 B/s");
        assert_eq!(per_second(12_345.6), "12,346/s");
        assert_eq!(per_second(3.25), "3.2/s");
    }

    #[test]
    fn durations() {
        for (duration_us, text) in [
            (850, "850 us"),
            (12_340, "12.3 ms"),
            (4_560_000, "4.56 s"),
            (123_000_000, "2m 3s"),
            (3_725_000_000, "1h 2m"),
            (93_784_000_000, "1day 2h"),
        ] {
            assert_eq!(duration(Duration::from_micros(duration_us)), text);
        }
    }
}
