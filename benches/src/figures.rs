//! Small sums over measurements, and how they are shown.

use std::io::{self, Write as _};

/// The middle one, or the mean of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// The value below which this share of the sorted values lies.
pub fn quantile(sorted: &[u32], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index).copied().map_or(f64::NAN, f64::from)
}

/// As many digits as mean something.
pub fn shown(value: f64) -> String {
    if value.is_nan() {
        "-".to_owned()
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// Prints a result.
///
/// # Errors
/// When standard output is gone.
pub fn print(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Tells whoever waits how far it is.
pub fn progress(text: &str) {
    // Nobody to tell is no reason to stop.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_and_of_nothing_there_is_none() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn one_of_a_hundred_lies_beyond_the_last_of_a_hundred_but_one() {
        let sorted: Vec<u32> = (1..=200).collect();
        assert_eq!((quantile(&sorted, 0.5), quantile(&sorted, 0.99)), (101.0, 199.0));
        assert!(quantile(&[], 0.5).is_nan());
    }
}
