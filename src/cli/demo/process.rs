//! Processes that end with this one, and the scratch directory of their logs.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

/// How many lines of a log are shown when something went wrong.
const LOG_TAIL: usize = 20;

/// A directory of our own that is removed at the end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Scratch> {
        let path = std::env::temp_dir().join(format!("convoy-demo-{}", std::process::id()));
        // Fails if it exists: nobody else may have put something there.
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Scratch(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the directory for temporary files; nothing to do about it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child whose output goes to a file, and which is killed when dropped.
pub(super) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`. Its log is `NAME.log` in `dir`.
    pub(super) fn spawn(
        name: &str,
        dir: &Path,
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Process> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("share a log file")?)
            .stderr(file)
            .kill_on_drop(true)
            // Ctrl-C is for us; we end the children, in our order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Process { name: name.to_owned(), child, log })
    }

    /// SIGKILL, and waits until it is gone.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("kill {}", self.name))
    }

    /// An error with the end of its log if the process has ended.
    pub(super) fn ensure_alive(&mut self) -> Result<()> {
        match self.child.try_wait().context("look after a child")? {
            None => Ok(()),
            Some(status) => bail!("{} has ended ({status})\n{}", self.name, self.log_tail()),
        }
    }

    /// The last lines of its log.
    pub(super) fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(LOG_TAIL));
        let tail: Vec<_> = tail.map(|line| format!("  {}: {line}\n", self.name)).collect();
        tail.concat()
    }
}

/// The script that finds or fetches the pinned Envoy; the only place that knows which one.
const FETCH: &str = include_str!("../../../envoy/fetch.sh");

/// The path of Envoy: `ENVOY_BIN`, `PATH`, or fetched. The script says on stderr what it does.
pub(super) async fn find_envoy() -> Result<PathBuf> {
    let in_repository = Path::new("envoy/fetch.sh").exists();
    let keep = if in_repository { PathBuf::from("target/envoy") } else { cache_dir()? };
    let mut script = Command::new("sh")
        .args([OsStr::new("-s"), OsStr::new("--"), keep.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("run sh")?;
    let mut stdin = script.stdin.take().expect("invariant: stdin is piped");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, FETCH.as_bytes())
        .await
        .or_else(ignore_closed)?;
    drop(stdin);
    let output = script.wait_with_output().await.context("find Envoy")?;
    if !output.status.success() {
        bail!("there is no Envoy to run");
    }
    let path = String::from_utf8(output.stdout).context("find Envoy")?;
    fs::canonicalize(path.trim()).with_context(|| format!("find Envoy at {}", path.trim()))
}

/// The script may have answered before it was read to the end.
fn ignore_closed(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// Where a fetched Envoy is kept outside the repository.
fn cache_dir() -> Result<PathBuf> {
    let dir = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = dir("XDG_CACHE_HOME").or_else(|| Some(dir("HOME")?.join(".cache")));
    Ok(cache.context("find the cache directory: HOME is not set")?.join("convoy/envoy"))
}
