//! Names as RFC 1123 and Kubernetes allow them.

/// Longest label of a host name, and longest name of a Service or namespace.
const MAX_LABEL: usize = 63;
/// Longest host name.
const MAX_NAME: usize = 253;

/// Lower-case letters, digits and inner hyphens: a label of a host, a Service, a namespace.
pub(super) fn is_label(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MAX_LABEL).contains(&text.len())
        && text.bytes().all(legal)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Labels with dots between them.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME && text.split('.').all(is_label)
}
