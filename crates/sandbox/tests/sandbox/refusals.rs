//! Machines that allow no user namespaces.

use std::error::Error;
use std::process::{Command, ExitCode};

use anyarch_sandbox::{Privilege, enter};

use crate::Case;

pub(crate) const CASES: &[Case] = &[("the_switch_is_named", the_switch_is_named)];

/// A caller that may not create user namespaces.
pub(crate) fn refused() -> ExitCode {
    let error = enter().unwrap_err();
    println!("{error}\n{}\n{}", error.source().unwrap(), error.hint().unwrap());
    ExitCode::SUCCESS
}

fn the_switch_is_named(_: Privilege) {
    // The limit is one for each user namespace: here it is set in one of our own. Without
    // CAP_SYS_ADMIN its root counts as an ordinary user.
    let finished = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount-proc", "--pid", "--fork", "sh", "-ec"])
        .arg("echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin \"$1\" --refused")
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&finished.stdout),
        "failed to create a user namespace: user.max_user_namespaces=0\n\
         No space left on device (os error 28)\n\
         as root: sysctl user.max_user_namespaces=15000; or run as root\n",
        "{}",
        String::from_utf8_lossy(&finished.stderr)
    );
}
