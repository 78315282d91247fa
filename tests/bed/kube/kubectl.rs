//! kubectl, as a user runs it.

use std::{io::Write, process::Stdio};

use std::process::Command;

use super::cluster::Cluster;

impl Cluster {
    /// Runs `kubectl WORDS` on this cluster and returns what it prints.
    ///
    /// # Panics
    /// If it fails, with what it says.
    #[track_caller]
    pub(crate) fn kubectl(&self, words: &str) -> String {
        self.try_kubectl(words, "").unwrap_or_else(|said| panic!("kubectl {words}: {said}"))
    }

    /// `kubectl apply -f - WORDS` of a manifest.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str, words: &str) -> String {
        let words = format!("apply -f - {words}");
        self.try_kubectl(&words, manifest).unwrap_or_else(|said| panic!("kubectl {words}: {said}"))
    }

    /// Runs `kubectl WORDS` with `input`. Words are apart where there is a space.
    ///
    /// # Errors
    /// What it says when it fails.
    pub(crate) fn try_kubectl(&self, words: &str, input: &str) -> Result<String, String> {
        let mut process = Command::new(&self.programs.kubectl)
            .env("KUBECONFIG", self.kubeconfig())
            // It caches what an address serves; another cluster had that address before.
            .env("KUBECACHEDIR", self.dir().join("kubectl"))
            .env("HOME", self.dir())
            .args(words.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        // A kubectl that reads nothing closes its input.
        let _ = process.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let output = process.wait_with_output().map_err(|e| e.to_string())?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
