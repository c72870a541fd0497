//! A store on a disk that is full or may not be written.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use snapbox::{assert_data_eq, str};

use crate::bench::Bench;
use crate::needs;

/// A small file system in memory, mounted until dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(bench: &Bench, options: &str) -> Disk {
        let path = bench.around().join("disk");
        fs::create_dir(&path).unwrap();
        let disk = Disk(path);
        disk.mount_with(options);
        disk
    }

    fn mount_with(&self, options: &str) {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "none"]).arg(&self.0);
        assert!(command.status().unwrap().success());
    }

    fn command(&self, bench: &Bench, args: &[&str]) -> Command {
        let mut command = bench.command(args);
        command.env("ANYARCH_STORE", self.0.join("store"));
        command
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

fn full(dockerfile: &str) -> (String, String) {
    let bench = Bench::one(dockerfile);
    bench.write("app/large", anyarch_testkit::random_bytes(5, 24_000_000));
    let digest = bench.build();
    let disk = Disk::mount(&bench, "size=40m");
    let done = bench.finish(&mut disk.command(&bench, &["build", "--quiet"]));
    let work = fs::read_dir(disk.0.join("store/work")).unwrap().count();
    assert_eq!(work, 0, "what was not finished is removed");
    disk.mount_with("remount,size=200m");
    let after = bench.finish(&mut disk.command(&bench, &["build", "--quiet"])).success();
    assert_eq!(after.image_digest(), digest, "the same command finishes once there is room");
    assert_eq!(done.code, Some(1), "{done:?}");
    (done.shown(), digest)
}

#[test]
fn full_disk_in_a_copy_needs_root() {
    needs!("root");
    assert_data_eq!(
        full("FROM root\nCOPY large /large\nRUN cp /large /copy\n").0,
        str![[r#"
error: failed to write the layer
 --> app/Dockerfile:3:1
  |
3 | COPY large /large
  | ^^^^^^^^^^^^^^^^^
  caused by: failed to write the archive
  caused by: No space left on device (os error 28)
  hint: the disk is full: free space, or put the store elsewhere
exit 1

"#]]
    );
}

#[test]
fn full_disk_in_a_run_needs_root() {
    needs!("root");
    let text = "FROM root\nRUN head -c 24000000 /dev/zero > /a && cat /a > /b && cp /a /c\n";
    assert_data_eq!(
        full(text).0,
        str![[r#"
error: `RUN head -c 24000000 /dev/zero > /a && cat /a > /b && cp /a /c` failed: exit code 1
 --> app/Dockerfile:3:1
  |
3 | RUN head -c 24000000 /dev/zero > /a && cat /a > /b && cp /a /c
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  the end of the output of step #2:
    cat: /a: No space left on device
  hint: the disk is full: free some space, or name another folder with --store or ANYARCH_STORE
exit 1

"#]]
    );
}

#[test]
fn full_disk_from_the_beginning_needs_root() {
    needs!("root");
    let bench = Bench::family();
    let disk = Disk::mount(&bench, "size=64k");
    assert_data_eq!(
        bench.finish(&mut disk.command(&bench, &["build", "--quiet"])).shown(),
        str![[r#"
error: failed to copy rootfs to /
 --> base/Dockerfile:2:1
  |
2 | COPY rootfs/ /
  | ^^^^^^^^^^^^^^
  caused by: failed to copy /bin/chmod
  caused by: No space left on device (os error 28)
  hint: the disk is full: free space, or put the store elsewhere
exit 1

"#]]
    );
}

#[test]
fn read_only_disk_needs_root() {
    needs!("root");
    let bench = Bench::family();
    let disk = Disk::mount(&bench, "size=1m,ro");
    assert_data_eq!(
        bench.finish(&mut disk.command(&bench, &["build", "--quiet"])).shown(),
        str![[r#"
error: failed to create [DIR]/disk/store/blobs/sha256
  caused by: Read-only file system (os error 30)
  hint: name a folder you may write with --store or ANYARCH_STORE
exit 1

"#]]
    );
}
