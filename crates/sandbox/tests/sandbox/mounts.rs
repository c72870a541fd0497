//! What is mounted around a process, and what is left of it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use anyarch_sandbox::{Cancel, Exit, Mount, OverlayMount, Privilege, Process, ProvidedFile};

use crate::Case;
use crate::room::{Room, base, done, said, tree};

pub(crate) const CASES: &[Case] = &[
    ("devices", devices),
    ("proc_is_masked", proc_is_masked),
    ("provided_files", provided_files),
    ("provided_files_do_not_escape", provided_files_do_not_escape),
    ("mount_points_leave_no_trace", mount_points_leave_no_trace),
    ("what_the_process_adds_stays", what_the_process_adds_stays),
    ("mounts_in_mounts", mounts_in_mounts),
    ("odd_targets_are_refused", odd_targets_are_refused),
    ("two_hundred_lowers", two_hundred_lowers),
    ("whiteouts_and_opaque_directories", whiteouts_and_opaque_directories),
    ("one_lower_is_a_read_only_view", one_lower_is_a_read_only_view),
    ("an_overlay_can_be_mounted_again", an_overlay_can_be_mounted_again),
    ("overlay_errors_name_the_place", overlay_errors_name_the_place),
];

fn file(path: &str, contents: &str) -> ProvidedFile {
    ProvidedFile::new(path, contents)
}

fn devices(privilege: Privilege) {
    let room = Room::new();
    assert_eq!(
        room.sh("ls -A /dev"),
        "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero"
    );
    assert_eq!(
        room.sh("echo x >/dev/null; head -c 4 /dev/zero | wc -c; head -c 9 /dev/urandom | wc -c"),
        "4\n9"
    );
    assert_eq!(
        room.sh("echo out >/dev/stdout; touch /dev/shm/x; readlink /dev/fd"),
        "out\n/proc/self/fd"
    );
    assert_eq!(done(&room.shell("echo x >/dev/full"), &Cancel::new()).exit.unwrap(), Exit::Code(1));
    if privilege == Privilege::Root {
        // A node may be made, as under Docker, but it opens nothing.
        assert_eq!(room.sh("mknod /n c 1 5; head -c 1 /n 2>/dev/null || echo refused"), "refused");
    }
}

fn proc_is_masked(_: Privilege) {
    let room = Room::new();
    assert_eq!(room.sh("ls -A /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v : | grep . || echo empty"), "empty");
    assert_eq!(
        room.sh(
            "for f in kcore keys timer_list; do cat /proc/$f; done 2>/dev/null | head -c 1 | wc -c"
        ),
        "0"
    );
    for path in ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/x", "/proc/irq/x"]
    {
        let done = done(&room.shell(&format!("echo x >{path}")), &Cancel::new());
        let complaint = String::from_utf8_lossy(&done.err).into_owned();
        assert_ne!(done.exit.unwrap(), Exit::Code(0), "{path}");
        assert!(
            ["Read-only file system", "Permission denied", "nonexistent"]
                .iter()
                .any(|why| complaint.contains(why)),
            "{path}: {complaint}"
        );
    }
}

fn provided_files(_: Privilege) {
    let room = Room::new();
    let mut process = room.shell(
        "cat /etc/resolv.conf /dev/.anyarch/deep/ca.crt /dev/own; \
         echo changed >/etc/resolv.conf && cat /etc/resolv.conf; \
         for what in 'echo x >/dev/.anyarch/deep/ca.crt' 'rm -f /dev/.anyarch/deep/ca.crt' 'touch /dev/.anyarch/y' 'chmod 777 /dev/.anyarch'; \
         do (eval \"$what\") 2>/dev/null && echo \"$what was allowed\"; done; \
         stat -c '%a %u' /etc/resolv.conf",
    );
    let big = "certificate\n".repeat(30_000);
    process.files = vec![
        file("/etc/resolv.conf", "nameserver\n"),
        file("/dev/.anyarch/deep/ca.crt", &big),
        file("/dev/own", "own\n"),
    ];
    let before = tree(&room.root);
    assert_eq!(said(&process), format!("nameserver\n{big}own\nchanged\n644 0"));
    assert_eq!(tree(&room.root), before);
    assert!(!room.upper.join("etc/resolv.conf").exists());
}

fn provided_files_do_not_escape(_: Privilege) {
    let room = Room::new();
    let outside = room.folder.path().join("outside");
    let lower = room.folder.path().join("lower");
    fs::create_dir_all(lower.join("etc")).unwrap();
    symlink(&outside, lower.join("etc/hosts")).unwrap();
    symlink("../../../../run/stub.conf", lower.join("etc/resolv.conf")).unwrap();
    let room = Room::over(&[lower]);
    let before = tree(&room.root);
    let mut process = room.shell("cat /etc/hosts /etc/resolv.conf /run/stub.conf");
    process.files = vec![file("/etc/hosts", "hosts\n"), file("/etc/resolv.conf", "resolv\n")];
    assert_eq!(said(&process), "hosts\nresolv\nresolv");
    assert!(!outside.exists());
    assert_eq!(tree(&room.root), before);
}

fn mount_points_leave_no_trace(_: Privilege) {
    let room = Room::new();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("inner"), "inner\n").unwrap();
    let before = tree(&room.root);
    let mut process = room.shell("cat /mnt/a/b/inner /secret/token; touch /cache/x; ls /cache; stat -c %a /cache; (echo x >/secret/token) 2>/dev/null || echo kept");
    process.mounts = vec![
        Mount::Bind { source: source.path().into(), target: "/mnt/a/b".into(), read_only: false },
        Mount::Bind {
            source: source.path().join("inner"),
            target: "/secret/token".into(),
            read_only: true,
        },
        Mount::Tmpfs { target: "/cache".into(), size: Some(1 << 20), mode: 0o1777 },
    ];
    process.files = vec![file("/etc/hosts", ""), file("/run/x/y", "")];
    assert_eq!(said(&process), "inner\ninner\nx\n1777\nkept");
    assert_eq!(tree(&room.root), before);
    // On the writable side, at most directories that are there below, as they are there.
    for entry in tree(&room.upper) {
        assert!(before.contains(&entry), "{entry}");
    }

    // A failed start cleans up as well.
    process.argv = vec!["/nothing".into()];
    assert!(done(&process, &Cancel::new()).exit.is_err());
    assert_eq!(tree(&room.root), before);
    process.mounts.push(Mount::Bind {
        source: "/nothing".into(),
        target: "/x".into(),
        read_only: true,
    });
    let error = done(&process, &Cancel::new()).exit.unwrap_err();
    assert_eq!(error.to_string(), "failed to find the source /nothing of a mount");
    assert_eq!(tree(&room.root), before);
}

fn what_the_process_adds_stays(_: Privilege) {
    let room = Room::new();
    let mut process =
        room.shell("touch /etc/new /cache/beside; rm -f /etc/passwd; stat -c %y /etc");
    process.files = vec![file("/etc/hosts", "")];
    process.mounts = vec![Mount::Tmpfs { target: "/cache/in".into(), size: None, mode: 0o755 }];
    let time = said(&process);
    let left = room.sh("ls -A /etc /cache; stat -c %y /etc");
    assert_eq!(left, format!("/cache:\nbeside\n\n/etc:\nnew\n{time}"));
}

fn mounts_in_mounts(_: Privilege) {
    let room = Room::new();
    let before = tree(&room.root);
    let mut process =
        room.shell("touch /run/lock/x; cat /run/user/0/f; cat /dev/shm/own; ls /dev/.anyarch/tree");
    process.mounts = vec![
        Mount::Tmpfs { target: "/run".into(), size: None, mode: 0o755 },
        Mount::Tmpfs { target: "/run/lock".into(), size: None, mode: 0o755 },
        Mount::Bind {
            source: base().join("etc"),
            target: "/dev/.anyarch/tree".into(),
            read_only: true,
        },
    ];
    process.files = vec![file("/run/user/0/f", "deep\n"), file("/dev/shm/own", "own\n")];
    assert_eq!(said(&process), "deep\nown\npasswd");
    assert_eq!(tree(&room.root), before);
}

fn odd_targets_are_refused(_: Privilege) {
    let room = Room::new();
    let before = tree(&room.root);
    for (target, words) in [
        ("/", "mount at /: it is the root itself"),
        ("/..", "mount at /..: it is the root itself"),
        ("tmp", "mount at tmp: the path is not absolute"),
        ("/etc/passwd", "make the mount point /etc/passwd"),
    ] {
        let mut process = room.process(&["true"]);
        process.mounts = vec![Mount::Tmpfs { target: target.into(), size: None, mode: 0o755 }];
        let error = done(&process, &Cancel::new()).exit.unwrap_err();
        assert_eq!(error.to_string(), format!("failed to {words}"));
    }
    assert_eq!(tree(&room.root), before);
}

fn two_hundred_lowers(_: Privilege) {
    let folder = tempfile::tempdir().unwrap();
    let name = "a-long-name-".repeat(8);
    let lowers: Vec<PathBuf> = (0..200)
        .map(|number| {
            let lower = folder.path().join(format!("{name},:{number}"));
            fs::create_dir(&lower).unwrap();
            fs::write(lower.join("top"), number.to_string()).unwrap();
            fs::write(lower.join(format!("file{number}")), "").unwrap();
            lower
        })
        .collect();
    let room = Room::over(&lowers);
    assert_eq!(room.sh("cat /top; ls / | grep -c file"), "0200");
    // Longer than an option of the kernel may be.
    let deep = folder.path().join("x".repeat(200)).join("y".repeat(200));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("deep"), "").unwrap();
    assert_eq!(Room::over(&[deep]).sh("ls /deep"), "/deep");
}

fn whiteouts_and_opaque_directories(_: Privilege) {
    let lower = tempfile::tempdir().unwrap();
    fs::create_dir(lower.path().join("dir")).unwrap();
    fs::write(lower.path().join("dir/old"), "").unwrap();
    fs::write(lower.path().join("gone"), "").unwrap();
    let room = Room::over(&[lower.path().to_owned()]);
    room.sh("rm /gone; rm -r /dir; mkdir /dir; touch /dir/new");
    let whiteout = fs::symlink_metadata(room.upper.join("gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let mut value = [0u8; 8];
    let length =
        rustix::fs::getxattr(room.upper.join("dir"), "user.overlay.opaque", &mut value).unwrap();
    assert_eq!(&value[..length], b"y");
    // Moving a directory from below copies it: no redirect is ever recorded.
    room.sh("mv /etc /etc2; cat /etc2/passwd");
    let redirect =
        rustix::fs::getxattr(room.upper.join("etc2"), "user.overlay.redirect", &mut value);
    assert_eq!(redirect, Err(rustix::io::Errno::NODATA));
    assert!(room.upper.join("etc2/passwd").exists());
}

fn one_lower_is_a_read_only_view(_: Privilege) {
    let folder = tempfile::tempdir().unwrap();
    let view = OverlayMount::mount(&[base().to_owned()], None, folder.path()).unwrap();
    assert!(folder.path().join("bin/sh").exists());
    let refused = fs::write(folder.path().join("x"), "").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let error = done(&Process::new(folder.path(), ["/bin/true"]), &Cancel::new()).exit.unwrap_err();
    assert_eq!(error.to_string(), "failed to make the mount point /proc");
    assert_eq!(error.hint().unwrap(), "mount the root with a writable directory on top");
    view.unmount().unwrap();
    assert!(!folder.path().join("bin").exists());

    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("other"), "").unwrap();
    let two = [other.path().to_owned(), base().to_owned()];
    let stacked = OverlayMount::mount(&two, None, folder.path()).unwrap();
    assert!(folder.path().join("other").exists() && folder.path().join("bin").exists());
    assert!(fs::write(folder.path().join("x"), "").is_err());
    drop(stacked);
    assert!(!folder.path().join("bin").exists());
}

fn an_overlay_can_be_mounted_again(_: Privilege) {
    let folder = tempfile::tempdir().unwrap();
    let [root, upper, work] = ["root", "upper", "work"].map(|name| folder.path().join(name));
    for path in [&root, &upper, &work] {
        fs::create_dir(path).unwrap();
    }
    for round in 0..3 {
        let mount =
            OverlayMount::mount(&[base().to_owned()], Some((&upper, &work)), &root).unwrap();
        fs::write(root.join(round.to_string()), "").unwrap();
        mount.unmount().unwrap();
        assert!(upper.join(round.to_string()).exists() && !root.join("bin").exists());
    }
    let mounts = Command::new("cat").arg("/proc/self/mountinfo").output().unwrap().stdout;
    assert!(!String::from_utf8_lossy(&mounts).contains(root.to_str().unwrap()));
}

fn overlay_errors_name_the_place(_: Privilege) {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for (lowers, target) in [
        (vec![], folder.path()),
        (vec![missing.clone()], folder.path()),
        (vec![missing.clone(), base().to_owned()], folder.path()),
        (vec![base().to_owned()], missing.as_path()),
    ] {
        let error = OverlayMount::mount(&lowers, None, target).unwrap_err();
        assert!(error.to_string().contains(target.to_str().unwrap()), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
}
