//! Secrets that must not be said, and every way in which bytes are written down.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Bytes that must not be said, with a name for the report.
pub(crate) struct Canary {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// As much of a canary as is looked for: enough to be no accident, and found also where a text was
/// cut.
const WINDOW: usize = 24;

impl Canary {
    /// Every way to write the middle of it down.
    fn spellings(&self) -> Vec<String> {
        let start = (self.bytes.len() - WINDOW) / 2;
        let part = &self.bytes[start..start + WINDOW];
        let hex = |joint: &str, upper: bool| {
            let digit =
                |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
            part.iter().map(digit).collect::<Vec<_>>().join(joint)
        };
        let list = part.iter().map(u8::to_string).collect::<Vec<_>>();
        let escaped = part.iter().flat_map(|byte| std::ascii::escape_default(*byte));
        let escaped = String::from_utf8(escaped.collect()).unwrap();
        let debug = format!("{:?}", bytes::Bytes::copy_from_slice(part));
        let mut all = vec![
            debug["b\"".len()..debug.len() - 1].to_owned(),
            escaped.clone(),
            escaped.replace('\\', "\\\\"),
            hex("", false),
            hex("", true),
            hex(":", true),
            hex(" ", false),
            list.join(", "),
            list.join(","),
        ];
        all.extend(std::str::from_utf8(part).map(str::to_owned));
        // In base64 a byte has one of three places. What depends on its neighbours is left out.
        all.extend((0..3).map(|shift| {
            let text = STANDARD.encode([vec![0; shift], part.to_vec()].concat());
            text[4 * shift.div_ceil(3)..4 * ((shift + WINDOW) / 3)].to_owned()
        }));
        all
    }

    /// The spelling that `text` has, if any.
    fn found_in(&self, text: &str) -> Option<String> {
        // Base64 is written in lines, and JSON writes the ends of lines as `\n`.
        let joined = text.replace(['\n', '\r'], "").replace("\\n", "");
        self.spellings().into_iter().find(|own| text.contains(own) || joined.contains(own))
    }
}

/// The private key of a PEM: its text and its bytes.
pub(crate) fn canaries(name: &str, pem: &str) -> [Canary; 2] {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let bytes = STANDARD.decode(&body).unwrap();
    let canary = |bytes| Canary { name: name.to_owned(), bytes };
    [canary(bytes), canary(body.into_bytes())]
}

pub(crate) fn scan(canaries: &[Canary], said: &[(&str, String)]) -> Vec<String> {
    let found = canaries.iter().flat_map(|canary| {
        said.iter().filter_map(|(place, text)| {
            Some(format!("{} in {place}: {}", canary.name, canary.found_in(text)?))
        })
    });
    found.collect()
}
