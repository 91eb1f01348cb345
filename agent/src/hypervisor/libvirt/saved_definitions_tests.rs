//! The watch over real folders: what is told, what is not, and what becomes of it when a folder goes.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// Long enough for anything that is told; nothing here waits for so long unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

struct Scene {
    root: TempDir,
    saved: SavedDefinitions,
}

impl Scene {
    /// Two folders that are watched.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let [status, persistent] = ["status", "persistent"].map(|name| root.path().join(name));
        fs::create_dir(&status).unwrap();
        fs::create_dir(&persistent).unwrap();
        let folders = DefinitionFolders { status: Some(status), persistent: Some(persistent) };
        let mut saved = SavedDefinitions::new(folders);
        assert!(!saved.is_complete());
        saved.watch_anew();
        assert!(saved.is_complete());
        Self { root, saved }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What is written by now.
    fn written(&mut self) -> Written {
        self.saved.wait(Duration::ZERO)
    }
}

/// Saves as libvirt does.
fn save(folder: &Path, domain: &str) {
    let new = folder.join(format!("{domain}.xml.new"));
    fs::write(&new, "<domain/>").unwrap();
    fs::rename(&new, folder.join(format!("{domain}.xml"))).unwrap();
}

fn names(names: &[&str]) -> Written {
    Written { domains: names.iter().map(|name| (*name).to_owned()).collect(), more: false }
}

#[test]
fn what_is_saved_in_either_folder_is_told_once() {
    let mut scene = Scene::new();
    assert_eq!(scene.written(), Written::default());
    for _ in 0..3 {
        save(&scene.path("status"), "web");
        save(&scene.path("persistent"), "mail.xml");
    }
    assert_eq!(scene.written(), names(&["mail.xml", "web"]));
    assert_eq!(scene.written(), Written::default());
}

#[test]
fn a_wait_ends_with_what_is_written_and_not_before() {
    let mut scene = Scene::new();
    let status = scene.path("status");
    std::thread::scope(|scope| {
        scope.spawn(|| save(&status, "web"));
        assert_eq!(scene.saved.wait(PATIENCE), names(&["web"]));
    });
}

#[test]
fn other_files_are_nobodys_definition() {
    let mut scene = Scene::new();
    let status = scene.path("status");
    fs::write(status.join("web.pid"), "1").unwrap();
    fs::write(status.join("web.xml.new"), "<domain/>").unwrap();
    fs::rename(status.join("web.pid"), status.join("mail.pid")).unwrap();
    fs::create_dir(status.join("autostart")).unwrap();
    save(&status.join("autostart"), "below");
    assert_eq!(scene.written(), Written::default());
    for (file, domain) in [("web.xml", Some("web")), (".xml", None), ("web.xml.new", None), ("web", None)] {
        assert_eq!(domain_of(OsStr::new(file)), domain, "{file}");
    }
}

#[test]
fn a_folder_that_goes_is_told_and_watched_when_it_is_back() {
    let mut scene = Scene::new();
    let (status, away) = (scene.path("status"), scene.path("away"));
    let goings: [&dyn Fn(); 2] =
        [&|| fs::remove_dir_all(&status).unwrap(), &|| fs::rename(&status, &away).unwrap()];
    for go in goings {
        go();
        assert!(scene.written().more, "it is not told that the folder went");
        assert!(!scene.saved.is_complete());
        scene.saved.watch_anew();
        assert!(!scene.saved.is_complete());
        // The other is watched as before.
        save(&scene.path("persistent"), "mail");
        assert_eq!(scene.written(), names(&["mail"]));

        fs::create_dir(&status).unwrap();
        scene.saved.watch_anew();
        assert!(scene.saved.is_complete());
        save(&status, "web");
        assert_eq!(scene.written(), names(&["web"]));
    }
    save(&away, "elsewhere");
    assert_eq!(scene.written(), Written::default(), "what was moved away is another folder");
}

#[test]
fn a_folder_that_was_replaced_is_found_out() {
    let mut scene = Scene::new();
    let (status, before, new) = (scene.path("status"), scene.path("before"), scene.path("new"));
    fs::create_dir(&new).unwrap();
    fs::rename(&status, &before).unwrap();
    fs::rename(&new, &status).unwrap();
    // Even by one who has not heard of it yet.
    scene.saved.watch_anew();
    assert!(scene.saved.is_complete());
    save(&before, "old");
    save(&status, "web");
    assert_eq!(scene.written(), names(&["web"]));
}

#[test]
fn what_is_watched_already_stays_as_it_is() {
    let mut scene = Scene::new();
    save(&scene.path("status"), "web");
    for _ in 0..3 {
        scene.saved.watch_anew();
    }
    assert_eq!(scene.written(), names(&["web"]));
}

#[test]
fn a_flood_is_cut_off_and_says_so() {
    let mut scene = Scene::new();
    let status = scene.path("status");
    for number in 0..DOMAINS_MAX + 1 {
        save(&status, &format!("domain-{number:04}"));
    }
    let written = scene.written();
    assert_eq!((written.domains.len(), written.more), (DOMAINS_MAX, true));
    assert_eq!(scene.written(), Written::default());
}

/// The kernel's own queue ends, too: what it says then is no folder's.
#[test]
fn hints_that_the_kernel_has_lost_are_known_to_be_lost() {
    let mut scene = Scene::new();
    let overflow = InotifyEvent { mask: AddWatchFlags::IN_Q_OVERFLOW, ..an_event(&scene) };
    let mut written = Written::default();
    let kernel = scene.saved.kernel.as_ref().unwrap();
    note(&overflow, kernel, &mut scene.saved.folders, &mut written);
    assert_eq!(written, Written { more: true, ..Written::default() });
    assert!(scene.saved.is_complete(), "no folder is lost by it");
}

/// Any event of the first folder's.
fn an_event(scene: &Scene) -> InotifyEvent {
    save(&scene.path("status"), "web");
    scene.saved.kernel.as_ref().unwrap().read_events().unwrap().remove(0)
}

#[test]
fn what_is_not_known_or_not_a_folder_is_not_watched() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let only_status = DefinitionFolders { status: Some(root.path().to_path_buf()), persistent: None };
    for (folders, told) in [
        (DefinitionFolders::default(), 0),
        (only_status.clone(), 1),
        (DefinitionFolders { persistent: Some(file), ..only_status.clone() }, 1),
        (DefinitionFolders { persistent: Some(root.path().join("none")), ..only_status }, 1),
    ] {
        let mut saved = SavedDefinitions::new(folders);
        saved.watch_anew();
        assert!(!saved.is_complete());
        save(root.path(), "web");
        assert_eq!(saved.wait(Duration::ZERO).domains.len(), told);
    }
}

#[test]
fn a_wait_is_never_shorter_than_it_says() {
    let counted = |patience| whole_milliseconds(patience).as_millis();
    assert_eq!(counted(Duration::ZERO), Some(0));
    assert_eq!(counted(Duration::from_micros(1)), Some(1));
    assert_eq!(counted(Duration::from_micros(2001)), Some(3));
    assert!(counted(Duration::MAX).is_some_and(|most| most > 1_000_000_000));
}
