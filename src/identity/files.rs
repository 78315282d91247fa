//! Certificates that somebody brings, as the three files of a mounted Secret.
//!
//! Owns when the directory is looked at, and the verdict on the three files together: what is broken,
//! half written or expired never replaces what is in use (faults.md F10, D8). Must not know what is
//! served with them. Cost: three small files every few seconds.
//!
//! `tls.crt`, `tls.key` and `ca.crt` are what cert-manager writes into a Secret of type
//! kubernetes.io/tls. The kubelet puts a new version there by swapping one symbolic link.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    sync::{Notify, watch},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep, timeout},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    identity::{Material, Materials, Report, expiry::Countdown, material::serial},
    source::decode::{Checked, check},
};

/// The files of the directory.
pub const CHAIN: &str = "tls.crt";
/// The key of the first certificate in [`CHAIN`].
pub const KEY: &str = "tls.key";
/// Who may have signed the certificates of clients.
pub const AUTHORITIES: &str = "ca.crt";

/// Larger files are no certificates: a bundle of every public authority has 200 KiB.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// Who writes three files one after the other is done when nothing has happened for so long.
const QUIET: Duration = Duration::from_millis(50);

/// A directory in which something happens all the time is looked at this often.
const MAX_BURST: Duration = Duration::from_secs(1);

/// Between two looks when nothing was heard: a directory that was replaced as a whole says nothing.
const LOOK: Duration = Duration::from_secs(10);

/// Times that files are read again because they changed meanwhile.
const READS: usize = 5;

/// What follows a directory.
#[derive(Debug)]
pub struct Running {
    /// What the files hold, once all of it was good.
    pub materials: Materials,
    /// What is known and what is wrong.
    pub report: watch::Receiver<Report>,
    /// Ends when it is aborted.
    pub task: JoinHandle<()>,
}

/// Follows the files of a directory, from now on. What is wrong with them is reported, not returned:
/// it may be mended without a restart.
///
/// # Errors
/// The directory cannot be watched.
pub fn follow(dir: &Path) -> Result<Running> {
    let context = || format!("watch the certificates in {}", dir.display());
    let heard = Arc::new(Notify::new());
    let told = heard.clone();
    // What happened is found by looking; our own reading causes no event that would not end.
    let hear = move |event: notify::Result<notify::Event>| {
        if !event.is_ok_and(|event| event.kind.is_access()) {
            told.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(hear).with_context(context)?;
    watcher.watch(dir, RecursiveMode::NonRecursive).with_context(context)?;
    let (material, materials) = watch::channel(None);
    let (said, report) = watch::channel(Report::default());
    let mut follower = Follower {
        dir: dir.to_owned(),
        material,
        report: said,
        used: None,
        leaf: Countdown::default(),
        authority: Countdown::default(),
    };
    // Whoever asked has what there is before the first connection comes.
    let first = read(dir);
    follower.take(first, SystemTime::now());
    Ok(Running { materials, report, task: tokio::spawn(follower.run(watcher, heard)) })
}

struct Follower {
    dir: PathBuf,
    material: watch::Sender<Option<Arc<Material>>>,
    report: watch::Sender<Report>,
    /// The files that are in use, and how many of the authorities had not ended.
    used: Option<(Files, usize)>,
    leaf: Countdown,
    authority: Countdown,
}

impl Follower {
    /// Looks again and again, until the task is aborted.
    async fn run(mut self, _watcher: RecommendedWatcher, heard: Arc<Notify>) {
        loop {
            // Whether it was heard or is time: the same look.
            if timeout(LOOK, heard.notified()).await.is_ok() {
                come_to_rest(&heard).await;
            }
            let dir = self.dir.clone();
            let Ok(files) = spawn_blocking(move || read(&dir)).await else { return };
            self.take(files, SystemTime::now());
        }
    }

    /// Uses the files if they are good.
    fn take(&mut self, files: Result<Files, String>, now: SystemTime) {
        let before = self.report.borrow().clone();
        let mut next = Report { trouble: None, ..before.clone() };
        match files.and_then(|files| judge(&files, now).map(|judged| (files, judged))) {
            Ok((files, judged)) => {
                let used = Some((files, judged.material.authorities.len()));
                if self.used == used {
                    return self.conclude(before, next, now);
                }
                let Judged { material, end, authority_end } = judged;
                tracing::info!(
                    dir = %self.dir.display(),
                    serial = material.chain.first().map(serial),
                    authorities = material.authorities.len(),
                    "new certificates are in use for xds"
                );
                next.server_end = Some(end);
                next.authority_end = Some(authority_end);
                self.used = used;
                self.material.send_replace(Some(Arc::new(material)));
            }
            Err(why) => next.trouble = Some(format!("{}: {why}", self.dir.display())),
        }
        self.conclude(before, next, now);
    }

    fn conclude(&mut self, before: Report, next: Report, now: SystemTime) {
        self.say(&before, &next);
        self.count_down(&next, now);
        self.report.send_replace(next);
    }

    /// Says what is news.
    fn say(&self, before: &Report, next: &Report) {
        match (&before.trouble, &next.trouble) {
            (before, Some(trouble)) if before.as_ref() != Some(trouble) => match self.used {
                Some(_) => tracing::warn!(trouble, "certificates are not used; those before are"),
                None => {
                    tracing::error!(trouble, "there are no certificates: Envoys cannot connect")
                }
            },
            (Some(_), None) => tracing::info!("certificates are good again"),
            (_, Some(_)) | (None, None) => {}
        }
    }

    fn count_down(&mut self, report: &Report, now: SystemTime) {
        let ends = [
            (CHAIN, report.server_end, &mut self.leaf),
            (AUTHORITIES, report.authority_end, &mut self.authority),
        ];
        for (file, end, countdown) in ends {
            if let Some(days) = end.and_then(|end| countdown.news(end, now)) {
                let path = self.dir.join(file);
                tracing::error!(
                    path = %path.display(),
                    days,
                    "the certificate for xds ends in so many days and was not replaced"
                );
            }
        }
    }
}

/// Returns when nothing has been heard for a while.
async fn come_to_rest(heard: &Notify) {
    let limit = Instant::now() + MAX_BURST;
    while Instant::now() < limit {
        tokio::select! {
            () = heard.notified() => {}
            () = sleep(QUIET) => return,
        }
    }
}

/// The content of the files.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
}

/// Reads until two readings agree, so that nothing of one version is taken for part of another.
fn read(dir: &Path) -> Result<Files, String> {
    let mut before = read_once(dir)?;
    for _ in 0..READS {
        let again = read_once(dir)?;
        if again == before {
            return Ok(again);
        }
        before = again;
    }
    Err("the files change all the time".to_owned())
}

fn read_once(dir: &Path) -> Result<Files, String> {
    let read = |name: &str| {
        let mut content = Vec::new();
        let file = File::open(dir.join(name));
        let read = file.and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content));
        match read {
            Ok(_) if content.len() as u64 > MAX_FILE_BYTES => {
                Err(format!("`{name}` has more than {MAX_FILE_BYTES} bytes"))
            }
            Ok(_) => Ok(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("`{name}` is missing"))
            }
            Err(error) => Err(format!("`{name}`: {error}")),
        }
    };
    Ok(Files { chain: read(CHAIN)?, key: read(KEY)?, authorities: read(AUTHORITIES)? })
}

/// Files that may be used.
struct Judged {
    material: Material,
    end: SystemTime,
    /// When the last of the authorities ends.
    authority_end: SystemTime,
}

fn judge(files: &Files, now: SystemTime) -> Result<Judged, String> {
    let Checked { chain, key, validity } = check(&files.chain, &files.key)?;
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (problem, _) = validity.at(i64::try_from(seconds).unwrap_or(i64::MAX));
    if let Some(problem) = problem {
        return Err(format!("`{CHAIN}`: {problem}"));
    }
    // It reads more of a certificate than was looked at: one that it refuses would serve nobody.
    let provider = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider)
        .map_err(|error| format!("`{CHAIN}` cannot be served: {error}"))?;
    let mut authorities = authorities(&files.authorities)?;
    let end_of = |der: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(time(certificate.validity().not_after.timestamp()))
    };
    let ends = authorities.iter().filter_map(end_of);
    let authority_end = ends.max().ok_or(format!("`{AUTHORITIES}` holds no certificate"))?;
    if authority_end < now {
        return Err(format!("`{AUTHORITIES}`: every certificate has expired"));
    }
    // While one is replaced by another the old one may end, and is trusted no longer: whoever verifies
    // does not look at the validity of an authority.
    authorities.retain(|der| end_of(der).is_some_and(|end| end >= now));
    let end = time(validity.not_after);
    Ok(Judged { material: Material { chain, key: Arc::new(key), authorities }, end, authority_end })
}

/// Every certificate of the bundle, each of which can be an authority.
fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let ders = ders.map_err(|_| format!("`{AUTHORITIES}` is not legal PEM"))?;
    let mut roots = RootCertStore::empty();
    for der in &ders {
        let added = roots.add(der.clone());
        added.map_err(|_| format!("`{AUTHORITIES}` holds a certificate that cannot be parsed"))?;
    }
    Ok(ders)
}

fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests;
