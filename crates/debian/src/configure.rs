//! The maintainer scripts of an unpacked root, in the right order, through the caller's runner.
//!
//! First the base (essential and required packages and what they need): all `preinst`, then `dpkg --configure`,
//! which runs the `postinst` scripts, puts configuration files in place and processes triggers. Then the rest
//! the same way, cut into batches where a `preinst` counts on a configured package (`Pre-Depends`).
//! Starts no process itself and never waits for input: debconf takes defaults.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use anyarch_layer::Root;

use crate::control::Paragraph;
use crate::database::{self, ADMIN_DIR};
use crate::error::DebianError;
use crate::order::{self, FIRST, order};
use crate::resolution::{Progress, Resolution};

/// A program to run in the root, with nothing in its environment but this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program (an absolute path) and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
}

/// What the caller's runner answers: the exit status, or why nothing could be run.
pub type RunResult = Result<i32, Box<dyn Error + Send + Sync>>;

/// Says to scripts that services must not be started (Debian's invoke-rc.d interface).
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &[u8] = b"#!/bin/sh\nexit 101\n";
/// Where dpkg has the control files of the package whose `preinst` it runs.
const STAGE: &str = "/var/lib/dpkg/tmp.ci";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Configures every package of an unpacked root.
///
/// `run` gets one command at a time, to be run in the root as its user 0; `epoch` (seconds since 1970) becomes
/// `SOURCE_DATE_EPOCH`. Services are kept from starting by a policy file that is removed again. A failure
/// names the package and the script.
pub fn configure(
    root: &Root,
    resolution: &Resolution,
    epoch: i64,
    run: &mut dyn FnMut(Command) -> RunResult,
    on: &(dyn Fn(Progress) + Sync),
) -> Result<(), DebianError> {
    let policy = Path::new(POLICY);
    let has_policy = root.exists(policy);
    if !has_policy {
        root.create_dir_all(Path::new("/usr/sbin"), 0o755, 0, 0)
            .map_err(DebianError::root("make", "/usr/sbin"))?;
        database::write(root, POLICY, POLICY_TEXT, 0o755)?;
    }
    let result =
        Configuration { root, architecture: &resolution.architecture, epoch, run, on }.all();
    if !has_policy {
        root.remove_file(policy).map_err(DebianError::root("remove", POLICY))?;
    }
    result
}

struct Configuration<'a> {
    root: &'a Root,
    architecture: &'a str,
    epoch: i64,
    run: &'a mut dyn FnMut(Command) -> RunResult,
    on: &'a (dyn Fn(Progress) + Sync),
}

impl Configuration<'_> {
    fn all(&mut self) -> Result<(), DebianError> {
        let status = database::read_status(self.root)?;
        let packages: Vec<&Paragraph> = status.iter().collect();
        let order = order(&packages, self.architecture);
        let rank = |n: &usize| {
            let name = packages.get(*n).and_then(|p| p.get("Package")).unwrap_or("");
            FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len())
        };
        let (mut base, rest): (Vec<usize>, Vec<usize>) =
            order.sequence.iter().partition(|n| order.base.contains(n));
        base.sort_by_key(rank);
        for number in &base {
            self.preinst(&packages, *number)?;
        }
        self.configure(&packages, &base)?;
        let mut batch: Vec<usize> = Vec::new();
        for number in rest {
            let waits = order::pre_depends(&packages, number, self.architecture);
            let waits: BTreeSet<usize> = waits.into_iter().collect();
            if self.has_preinst(&packages, number) && batch.iter().any(|n| waits.contains(n)) {
                self.configure(&packages, &batch)?;
                batch.clear();
            }
            self.preinst(&packages, number)?;
            batch.push(number);
        }
        self.configure(&packages, &batch)?;
        self.dpkg(vec!["--configure".into(), "--pending".into()], "triggers")?;
        self.finished()
    }

    fn has_preinst(&self, packages: &[&Paragraph], number: usize) -> bool {
        let name = packages.get(number).map(|p| database::qualified_name(p)).unwrap_or_default();
        self.root.exists(Path::new(&format!("{ADMIN_DIR}/info/{name}.preinst")))
    }

    /// Runs `preinst install` of one package, if it has one, with what dpkg would tell it.
    fn preinst(&mut self, packages: &[&Paragraph], number: usize) -> Result<(), DebianError> {
        let Some(package) = packages.get(number).filter(|_| self.has_preinst(packages, number))
        else {
            return Ok(());
        };
        let field = |name: &str| package.get(name).unwrap_or("").to_owned();
        let mut env = self.environment();
        let dpkg = packages.iter().find(|p| p.get("Package") == Some("dpkg"));
        let version = dpkg.and_then(|p| p.get("Version")).unwrap_or("");
        for (name, value) in [
            ("DPKG_MAINTSCRIPT_PACKAGE", field("Package")),
            ("DPKG_MAINTSCRIPT_ARCH", field("Architecture")),
            ("DPKG_MAINTSCRIPT_NAME", "preinst".to_owned()),
            ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1".to_owned()),
            ("DPKG_RUNNING_VERSION", version.to_owned()),
            ("DPKG_ADMINDIR", ADMIN_DIR.to_owned()),
            ("DPKG_ROOT", String::new()),
        ] {
            env.push((name.to_owned(), value));
        }
        (self.on)(Progress::Configuring { what: format!("{} (preinst)", field("Package")) });
        self.stage(package)?;
        let script = format!("{STAGE}/preinst");
        let status = self.command(vec![script, "install".to_owned()], env)?;
        self.root.remove_all(Path::new(STAGE)).map_err(DebianError::root("remove", STAGE))?;
        if status == 0 {
            return Ok(());
        }
        Err(DebianError::Script { package: field("Package"), script: "preinst", status })
    }

    /// Puts a package's control files where dpkg has them while its `preinst` runs; debconf looks there.
    fn stage(&self, package: &Paragraph) -> Result<(), DebianError> {
        self.root.remove_all(Path::new(STAGE)).map_err(DebianError::root("remove", STAGE))?;
        self.root
            .create_dir_all(Path::new(STAGE), 0o755, 0, 0)
            .map_err(DebianError::root("make", STAGE))?;
        let info = format!("{ADMIN_DIR}/info");
        let prefix = format!("{}.", database::qualified_name(package));
        let names =
            self.root.read_dir(Path::new(&info)).map_err(DebianError::root("list", &info))?;
        for name in names.iter().filter_map(|name| name.to_str()) {
            // `python3.11` has files that begin like those of `python3`; a kind has no dot.
            let Some(kind) = name.strip_prefix(&prefix).filter(|kind| !kind.contains('.')) else {
                continue;
            };
            if matches!(kind, "list" | "md5sums") {
                continue;
            }
            let path = format!("{info}/{name}");
            let read = || {
                let mode = self.root.metadata(Path::new(&path))?.mode;
                self.root.read(Path::new(&path)).map(|content| (content, mode))
            };
            let (content, mode) = read().map_err(DebianError::root("read", &path))?;
            database::write(self.root, &format!("{STAGE}/{kind}"), &content, mode)?;
        }
        let mut control = Paragraph::default();
        for (name, value) in package.fields().filter(|(n, _)| !matches!(*n, "Status" | "Conffiles"))
        {
            control.set(name, value);
        }
        database::write(
            self.root,
            &format!("{STAGE}/control"),
            control.to_string().as_bytes(),
            0o644,
        )
    }

    /// `dpkg --configure` for a batch; dpkg itself sorts by dependencies within it.
    fn configure(&mut self, packages: &[&Paragraph], batch: &[usize]) -> Result<(), DebianError> {
        if batch.is_empty() {
            return Ok(());
        }
        let names =
            batch.iter().filter_map(|n| packages.get(*n)).map(|p| database::qualified_name(p));
        let mut arguments = vec!["--configure".to_owned()];
        arguments.extend(names);
        self.dpkg(arguments, &format!("{} packages", batch.len()))
    }

    fn dpkg(&mut self, arguments: Vec<String>, what: &str) -> Result<(), DebianError> {
        (self.on)(Progress::Configuring { what: what.to_owned() });
        let shown = format!("dpkg {}", arguments.first().map_or("", String::as_str));
        let mut argv = vec!["/usr/bin/dpkg".to_owned()];
        argv.extend(arguments);
        let status = self.command(argv, self.environment())?;
        if status == 0 {
            return Ok(());
        }
        let entries = database::read_status(self.root)?;
        let state = |p: &Paragraph| p.get("Status").unwrap_or("").to_owned();
        let name = |p: &Paragraph| p.get("Package").unwrap_or("").to_owned();
        // dpkg marks the package whose postinst failed.
        if let Some(failed) = entries.iter().find(|p| state(p).ends_with("half-configured")) {
            return Err(DebianError::Script { package: name(failed), script: "postinst", status });
        }
        let unfinished = entries.iter().filter(|p| !state(p).ends_with(" installed")).map(name);
        Err(DebianError::Dpkg { command: shown, status, unfinished: unfinished.collect() })
    }

    /// Every package must be installed now.
    fn finished(&self) -> Result<(), DebianError> {
        let entries = database::read_status(self.root)?;
        let unfinished: Vec<String> = entries
            .iter()
            .filter(|package| package.get("Status") != Some("install ok installed"))
            .map(|package| package.get("Package").unwrap_or("").to_owned())
            .collect();
        if unfinished.is_empty() {
            return Ok(());
        }
        Err(DebianError::Dpkg { command: "dpkg --configure".to_owned(), status: 0, unfinished })
    }

    fn environment(&self) -> Vec<(String, String)> {
        let epoch = self.epoch.to_string();
        [
            ("PATH", PATH),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
            ("SOURCE_DATE_EPOCH", epoch.as_str()),
            // Perl's hash order decides the order of some files that scripts write.
            ("PERL_HASH_SEED", "0"),
            ("PYTHONHASHSEED", "0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn command(
        &mut self,
        argv: Vec<String>,
        env: Vec<(String, String)>,
    ) -> Result<i32, DebianError> {
        let shown = argv.iter().take(3).cloned().collect::<Vec<_>>().join(" ");
        (self.run)(Command { argv, env })
            .map_err(|source| DebianError::Run { command: shown, source })
    }
}
