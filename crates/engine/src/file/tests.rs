use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use anyarch_sandbox::Cancel;

use super::*;
use crate::op::CopyFrom;
use crate::testing;

/// A build context and a tree, both empty at first.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("context")).unwrap();
        fs::create_dir(folder.path().join("tree")).unwrap();
        Bench { folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn copy(&self, sources: &[&str], destination: &str) -> Result<(), BuildError> {
        let engine = testing::engine(&self.path("store"));
        let cancel = Cancel::new();
        let session = Session::new(&engine, 1_000_000_000, &|_| {}, &cancel);
        let context = BuildContext::open(&self.path("context"), None)?;
        let op = copy_op(sources, destination);
        session.copy(&self.path("tree"), &op, &Origin::Context(&context), &[])
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }
}

fn copy_op(sources: &[&str], destination: &str) -> CopyOp {
    CopyOp {
        from: CopyFrom::Context(0),
        sources: sources.iter().map(|source| (*source).to_owned()).collect(),
        inline: Vec::new(),
        destination: destination.to_owned(),
        chown: None,
        chmod: None,
        add: false,
        link: false,
        parents: false,
        exclude: Vec::new(),
        checksum: None,
        keep_git_dir: false,
        unpack: None,
    }
}

#[test]
fn a_linked_source_is_copied_under_its_own_name() {
    let bench = Bench::new();
    bench.write("context/real/a", "1");
    symlink("real/a", bench.path("context/la")).unwrap();
    symlink("real", bench.path("context/ld")).unwrap();
    bench.copy(&["la"], "/one/").unwrap();
    assert_eq!(bench.read("tree/one/la"), "1");
    bench.copy(&["l*"], "/all/").unwrap();
    assert_eq!(bench.read("tree/all/la"), "1");
    assert_eq!(bench.read("tree/all/a"), "1", "what the linked directory holds");
}

#[test]
fn a_file_replaces_a_link_of_its_name_in_the_destination() {
    let bench = Bench::new();
    bench.write("context/python3", "new");
    bench.write("tree/bin/python3.11", "old");
    symlink("python3.11", bench.path("tree/bin/python3")).unwrap();
    for destination in ["/bin/", "/bin"] {
        bench.copy(&["python3"], destination).unwrap();
        assert_eq!(bench.read("tree/bin/python3.11"), "old");
        assert_eq!(bench.read("tree/bin/python3"), "new");
    }
    symlink("python3.11", bench.path("tree/bin/python")).unwrap();
    bench.copy(&["python3"], "/bin/python").unwrap();
    assert_eq!(bench.read("tree/bin/python3.11"), "new", "a link that is named is followed");
}

#[test]
fn times_of_a_context_leave_no_trace() {
    let bench = Bench::new();
    bench.write("context/src/a", "1");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(900_000_000);
    for path in ["context/src/a", "context/src"] {
        fs::File::open(bench.path(path)).unwrap().set_modified(old).unwrap();
    }
    bench.copy(&["src"], "/src").unwrap();
    for path in ["tree/src", "tree/src/a"] {
        let time = fs::metadata(bench.path(path)).unwrap().modified().unwrap();
        let seconds = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds, 1_000_000_000, "{path}");
    }
}

#[test]
fn directories_of_workdir_belong_to_the_user() {
    let bench = Bench::new();
    let owner = |path: &str| {
        let metadata = fs::metadata(bench.path(path)).unwrap();
        (metadata.uid(), metadata.gid())
    };
    // Whoever is not root can only own files himself.
    let (uid, gid) = if owner("tree").0 == 0 { (1234, 1235) } else { owner("tree") };
    bench.write("tree/etc/passwd", &format!("app:x:{uid}:{gid}::/:\n"));
    let engine = testing::engine(&bench.path("store"));
    let cancel = Cancel::new();
    let session = Session::new(&engine, 0, &|_| {}, &cancel);
    session.make_directory(&bench.path("tree"), "/srv/app", "app").unwrap();
    assert_eq!((owner("tree/srv"), owner("tree/srv/app")), ((uid, gid), (uid, gid)));
    let error = session.make_directory(&bench.path("tree"), "/srv/more", "eve").unwrap_err();
    assert!(error.message.contains("`eve`"), "{error}");
}

#[test]
fn files_that_change_while_they_are_copied_show_in_the_digest() {
    let bench = Bench::new();
    bench.write("context/a", "1");
    let context = BuildContext::open(&bench.path("context"), None).unwrap();
    let origin = Origin::Context(&context);
    let digest = || origin.digest(&["a"], &IgnoreFile::default(), &mut Files::new()).unwrap();
    let taken = digest();
    assert_eq!(digest(), taken);
    bench.write("context/a", "2");
    assert_ne!(digest(), taken);
}
