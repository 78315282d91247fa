//! Images: names that stand for programs of this machine, with what their real images say about how to
//! start them.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Container;

use crate::bed::envoy;

/// The user of images without a distribution.
const NON_ROOT: i64 = 65532;

/// A program that a container may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// Echoes on an address of the common network; a hundred of them are cheap.
    WebDemo,
    /// This project's own.
    Convoy,
    /// The pinned stock Envoy.
    Envoy,
    /// `/bin/sh` and what else this machine has in `/usr`.
    Shell,
}

impl Image {
    /// By the last part of its path, without tag and digest.
    ///
    /// # Errors
    /// The name that the bed does not know.
    pub(super) fn of(container: &Container) -> Result<Image, &str> {
        let image = container.image.as_deref().unwrap_or_default();
        let last = image.rsplit('/').next().unwrap_or(image);
        match last.split([':', '@']).next().unwrap_or(last) {
            "web-demo" => Ok(Image::WebDemo),
            "convoy" => Ok(Image::Convoy),
            "envoy" => Ok(Image::Envoy),
            "shell" => Ok(Image::Shell),
            other => Err(other),
        }
    }

    /// Whether it sees only what its pod has.
    pub(super) fn is_isolated(self) -> bool {
        self != Image::WebDemo
    }

    /// What is in the image besides the machine's own `/usr`: the file, and where it is found inside.
    pub(super) fn program(self) -> Option<(PathBuf, &'static str)> {
        match self {
            Image::Convoy => Some((env!("CARGO_BIN_EXE_convoy").into(), "/convoy")),
            Image::Envoy => Some((envoy::binary(), "/usr/local/bin/envoy")),
            Image::WebDemo | Image::Shell => None,
        }
    }

    /// As whom it runs where nobody says otherwise.
    pub(super) fn user(self, container: &Container) -> i64 {
        let image = container.image.as_deref().unwrap_or_default();
        match self {
            Image::Convoy => NON_ROOT,
            // Only the one that is without a distribution is without root.
            Image::Envoy if image.contains(":distroless") => NON_ROOT,
            Image::WebDemo | Image::Envoy | Image::Shell => 0,
        }
    }

    /// What a container of it runs: `command` replaces the entry point, `args` what follows it.
    pub(super) fn command_line(self, container: &Container) -> Vec<String> {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let command = container.command.clone().unwrap_or_default();
        let args = container.args.clone().unwrap_or_default();
        if !command.is_empty() {
            return [command, args].concat();
        }
        let (entry, default) = match self {
            // As in the Dockerfile.
            Image::Convoy => (
                &["/convoy"][..],
                &["serve", "--xds-listen=0.0.0.0:18000", "--admin-listen=0.0.0.0:18001"][..],
            ),
            Image::Envoy => (&["/usr/local/bin/envoy"][..], &["-c", "/etc/envoy/envoy.yaml"][..]),
            Image::WebDemo | Image::Shell => (&["/bin/sh"][..], &[][..]),
        };
        let args = if args.is_empty() { owned(default) } else { args };
        // The entry point of the real image takes its own name too.
        let is_named = self == Image::Envoy && args.first().is_some_and(|first| first == "envoy");
        [owned(entry), args.into_iter().skip(usize::from(is_named)).collect()].concat()
    }
}
