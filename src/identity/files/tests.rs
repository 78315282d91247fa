use std::{fs, os::unix::fs::symlink};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use time::OffsetDateTime;

use super::*;

/// Far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Pair {
    chain: String,
    key: String,
    authorities: String,
}

/// A leaf that ends so many days from now, and its authority.
fn pair(days: i64) -> Pair {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec!["convoy".to_owned()]).unwrap();
    let now = OffsetDateTime::from(SystemTime::now());
    params.not_before = now - 100 * DAY;
    params.not_after = if days < 0 { now - DAY } else { now + DAY * u32::try_from(days).unwrap() };
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    Pair { chain: leaf.pem(), key: key.serialize_pem(), authorities: root.pem() }
}

fn write(dir: &Path, pair: &Pair) {
    fs::write(dir.join(CHAIN), &pair.chain).unwrap();
    fs::write(dir.join(KEY), &pair.key).unwrap();
    fs::write(dir.join(AUTHORITIES), &pair.authorities).unwrap();
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

impl Running {
    /// Waits until this certificate is in use.
    async fn uses(&mut self, pair: &Pair) {
        let is_used = |material: &Option<Arc<Material>>| {
            material.as_ref().is_some_and(|own| own.chain[0] == der(&pair.chain))
        };
        timeout(PATIENCE, self.materials.wait_for(is_used)).await.expect("it is used").unwrap();
    }

    /// Waits until something is said to be wrong; what.
    async fn fails(&mut self) -> String {
        let failing = self.report.wait_for(|report| report.trouble.is_some());
        timeout(PATIENCE, failing).await.expect("it is reported").unwrap().trouble.clone().unwrap()
    }
}

#[tokio::test]
async fn fault_d08_files_that_are_written_over_are_followed() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (pair(60), pair(90));
    write(dir.path(), &first);
    let mut files = follow(dir.path()).unwrap();
    assert!(files.materials.borrow().is_some(), "they are there from the start");
    files.uses(&first).await;
    write(dir.path(), &second);
    files.uses(&second).await;
    let report = files.report.borrow().clone();
    assert_eq!(report.trouble, None);
    let left = report.server_end.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(left > 89 * DAY && left < 91 * DAY, "{left:?}");
}

#[tokio::test]
async fn fault_d08_a_swap_of_the_kubelet_is_followed() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (pair(60), pair(60));
    for (version, pair) in [("..1", &first), ("..2", &second)] {
        fs::create_dir(dir.path().join(version)).unwrap();
        write(&dir.path().join(version), pair);
    }
    symlink("..1", dir.path().join("..data")).unwrap();
    for name in [CHAIN, KEY, AUTHORITIES] {
        symlink(format!("..data/{name}"), dir.path().join(name)).unwrap();
    }
    let mut files = follow(dir.path()).unwrap();
    files.uses(&first).await;
    symlink("..2", dir.path().join("..data_tmp")).unwrap();
    fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    files.uses(&second).await;
}

#[tokio::test]
async fn fault_d08_what_is_wrong_never_replaces_what_is_used() {
    let good = pair(60);
    let check = async |broken: Pair, expect: &str| {
        let dir = TempDir::new().unwrap();
        write(dir.path(), &good);
        let mut files = follow(dir.path()).unwrap();
        files.uses(&good).await;
        write(dir.path(), &broken);
        let why = files.fails().await;
        assert!(why.contains(expect), "{why}");
        assert!(why.starts_with(&dir.path().display().to_string()), "{why}");
        files.uses(&good).await;
        // What mends it is taken up.
        let mended = pair(60);
        write(dir.path(), &mended);
        files.uses(&mended).await;
        assert_eq!(files.report.borrow().trouble, None);
    };
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let other = pair(60);
    check(Pair { chain: half(&other.chain), ..pair(60) }, "`tls.crt`").await;
    check(Pair { chain: other.chain.clone(), ..pair(60) }, "does not belong").await;
    check(Pair { key: String::new(), ..pair(60) }, "`tls.key` is missing").await;
    check(Pair { authorities: half(&other.authorities), ..pair(60) }, "`ca.crt`").await;
    check(Pair { authorities: "none\n".to_owned(), ..pair(60) }, "no certificate").await;
    check(pair(-1), "expired").await;
}

#[tokio::test]
async fn files_that_are_missing_at_the_start_are_waited_for() {
    let dir = TempDir::new().unwrap();
    let mut files = follow(dir.path()).unwrap();
    assert!(files.fails().await.contains("`tls.crt` is missing"));
    assert!(files.materials.borrow().is_none());
    let first = pair(60);
    write(dir.path(), &first);
    files.uses(&first).await;
    let gone = follow(&dir.path().join("gone")).expect_err("nobody can watch it");
    assert!(format!("{gone:#}").contains("gone"), "{gone:#}");
}

#[test]
fn debug_shows_no_key() {
    let pair = pair(60);
    let files = Files {
        chain: pair.chain.clone().into(),
        key: pair.key.clone().into(),
        authorities: pair.authorities.clone().into(),
    };
    let material = judge(&files, SystemTime::now()).ok().unwrap().material;
    let text = format!("{material:?}");
    assert!(text.contains(&serial(&der(&pair.chain))), "{text}");
    assert!(text.len() < 250, "{text}");
}

/// Whoever verifies does not look at the validity of an authority, so one that has ended must go.
#[test]
fn fault_s01_an_authority_that_has_ended_is_trusted_no_longer() {
    let pair = pair(60);
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let now = OffsetDateTime::from(SystemTime::now());
    (params.not_before, params.not_after) = (now - 100 * DAY, now - DAY);
    let ended = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let files = Files {
        chain: pair.chain.clone().into(),
        key: pair.key.clone().into(),
        authorities: format!("{ended}{}", pair.authorities).into(),
    };
    let judged = judge(&files, SystemTime::now()).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(judged.material.authorities, [der(&pair.authorities)]);
}

/// A critical extension that the TLS library does not know.
#[test]
fn fault_d08_a_certificate_that_cannot_be_served_is_not_used() {
    let mut params = CertificateParams::new(vec!["convoy".to_owned()]).unwrap();
    let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    unknown.set_criticality(true);
    params.custom_extensions = vec![unknown];
    let now = OffsetDateTime::from(SystemTime::now());
    (params.not_before, params.not_after) = (now - DAY, now + DAY);
    let key = KeyPair::generate().unwrap();
    let chain = params.self_signed(&key).unwrap().pem();
    let files = Files {
        chain: chain.into(),
        key: key.serialize_pem().into(),
        authorities: pair(60).authorities.into(),
    };
    let why = judge(&files, SystemTime::now()).err().expect("it is refused");
    assert!(why.contains("`tls.crt` cannot be served"), "{why}");
}
