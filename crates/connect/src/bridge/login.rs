//! Who logs in at a server of others.

use crate::failure::Failure;
use crate::secret::{SecretSource, SecretText};

/// The secret a login needs, as it is now.
///
/// # Errors
/// [`Failure::Refused`] says where it is missing.
pub(crate) fn secret(
    source: Option<&SecretSource>,
    system: &str,
) -> Result<Option<SecretText>, Failure> {
    let Some(source) = source else { return Ok(None) };
    let advice = format!("it is needed to log in at {system}");
    source.read().map(Some).map_err(|error| Failure::refused(error.to_string(), advice))
}

/// The name of a pipeline where only ASCII letters, digits, `-` and `_` may be, `galgo-` in front.
pub(crate) fn plain_name(pipeline: &str) -> String {
    let is_allowed = |letter: &char| letter.is_ascii_alphanumeric() || "-_".contains(*letter);
    let plain = |letter: char| if is_allowed(&letter) { letter } else { '_' };
    let name: String = pipeline.chars().map(plain).collect();
    match name == pipeline {
        true => format!("galgo-{name}"),
        // Two pipelines do not share what is of that name because of a letter.
        false => {
            let hash = twox_hash::XxHash3_64::oneshot(pipeline.as_bytes());
            format!("galgo-{name}-{hash:016x}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pipeline_has_a_name_of_its_own() {
        assert_eq!(plain_name("orders-in"), "galgo-orders-in");
        assert_ne!(plain_name("orders in"), plain_name("orders.in"));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(plain_name("orders.in").bytes().all(allowed));
    }
}
