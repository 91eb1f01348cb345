//! Owns the building of a guest image: gathers programs, libraries, modules and kernel from the machine, packs them
//! and keeps the result by the hash of everything that went in. Needs neither root nor a mount nor the network.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use ring::digest;

use super::archive::{self, Entry};
use super::recipe::{self, Variant};

/// The least memory in which the guest boots is 96 MiB: the initial file system is unpacked beside its archive.
pub const MEMORY_MIN_MEBIBYTES: u64 = 128;

/// Sectors of the disk: 48 MiB, about twice what kernel and initial file system take.
const SECTORS: u64 = 48 * 2048;

/// Where a kernel may be: installed, or unpacked by `packaging/setup.sh`.
const KERNEL_ROOTS: [&str; 2] = ["/", "/var/cache/reeve-lab/kernel"];

/// Changed by hand when the way of building changes while its inputs do not.
const BUILDER_VERSION: &str = "1";

/// Builds guest images and keeps them.
#[derive(Debug, Clone)]
pub struct Builder {
    cache: PathBuf,
}

/// Everything that goes into an image.
struct Inputs {
    kernel: Vec<u8>,
    archive: Vec<u8>,
}

impl Builder {
    /// A builder that keeps its images in `cache`.
    #[must_use]
    pub fn new(cache: &Path) -> Self {
        Self { cache: cache.to_owned() }
    }

    /// The image of `variant`, built unless one of exactly these inputs is there already.
    ///
    /// # Errors
    /// When a package is missing or a tool fails; the message says which.
    pub fn image(&self, variant: Variant) -> Result<PathBuf> {
        let inputs =
            gather(variant).context("cannot gather the guest image's parts (`make setup` installs them)")?;
        let path = self.cache.join(format!("{}-{}.qcow2", variant.name(), inputs.fingerprint()));
        if path.exists() {
            return Ok(path);
        }
        fs::create_dir_all(&self.cache).with_context(|| format!("cannot create {}", self.cache.display()))?;
        // Built aside and renamed: an interrupted build leaves no half image under the final name.
        let workshop = tempfile::Builder::new().prefix(".building-").tempdir_in(&self.cache)?;
        let finished = assemble(&inputs, workshop.path())
            .with_context(|| format!("cannot build the {} guest image", variant.name()))?;
        fs::rename(&finished, &path)
            .with_context(|| format!("cannot move the image to {}", path.display()))?;
        Ok(path)
    }
}

impl Inputs {
    fn fingerprint(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [
            BUILDER_VERSION.as_bytes(),
            recipe::BOOT_LOADER.as_bytes(),
            &SECTORS.to_le_bytes(),
            &self.kernel,
            &self.archive,
        ] {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn gather(variant: Variant) -> Result<Inputs> {
    let Kernel { image: kernel, modules } = newest_kernel(&KERNEL_ROOTS.map(Path::new))?;
    let mut entries = recipe::scripts(variant);
    entries.push(Entry::program("bin/busybox", read("/bin/busybox".as_ref())?));
    let agent = Path::new("/usr/sbin/qemu-ga");
    entries.push(Entry::program("usr/sbin/qemu-ga", read(agent)?));
    for library in libraries(agent)? {
        let inside = library.trim_start_matches('/');
        for ancestor in Path::new(inside).ancestors().collect::<Vec<_>>().into_iter().rev() {
            let directory = ancestor.to_string_lossy().into_owned();
            let known = directory.is_empty() || entries.iter().any(|entry| entry.path == directory);
            if !known && directory != inside {
                entries.push(Entry::directory(&directory));
            }
        }
        entries.push(Entry::program(inside, read(library.as_ref())?));
    }
    for (index, module) in recipe::MODULES.iter().enumerate() {
        let name = module.rsplit('/').next().unwrap_or(module);
        entries.push(Entry::file(&format!("modules/{index:02}-{name}"), read(&modules.join(module))?));
    }
    Ok(Inputs { kernel: read(&kernel)?, archive: archive::write(&entries)? })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A kernel and where its modules are.
#[derive(Debug, PartialEq, Eq)]
struct Kernel {
    image: PathBuf,
    modules: PathBuf,
}

/// The cloud kernel with the highest version below one of these roots.
fn newest_kernel(roots: &[&Path]) -> Result<Kernel> {
    let mut found: Vec<(Vec<u64>, Kernel)> = Vec::new();
    for root in roots {
        for entry in fs::read_dir(root.join("boot")).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(release) = name.strip_prefix("vmlinuz-") else { continue };
            let modules = root.join("lib/modules").join(release);
            if release.contains("-cloud-") && modules.is_dir() {
                found.push((numbers(release), Kernel { image: entry.path(), modules }));
            }
        }
    }
    match found.into_iter().max_by(|one, other| one.0.cmp(&other.0)) {
        Some((_, kernel)) => Ok(kernel),
        None => bail!("there is no cloud kernel with its modules below {roots:?}"),
    }
}

/// The numbers in a version, so that 6.1.0-56 comes after 6.1.0-9.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// The libraries a program loads, its loader included, as the machine's own loader finds them.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let listed = run("ldd", [program])?;
    Ok(parse_libraries(&listed))
}

/// Reads the output of `ldd`: `name => /path (address)` or `/path (address)`; what has no path is the kernel's own.
fn parse_libraries(listed: &str) -> Vec<String> {
    listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(str::to_owned)
        .collect()
}

fn assemble(inputs: &Inputs, workshop: &Path) -> Result<PathBuf> {
    let disk = workshop.join("disk");
    let finished = workshop.join("image.qcow2");
    let part = |name: &str, contents: &[u8]| -> Result<PathBuf> {
        let path = workshop.join(name);
        fs::write(&path, contents)?;
        Ok(path)
    };
    let kernel = part("vmlinuz", &inputs.kernel)?;
    let initial = part("initrd", &inputs.archive)?;
    let boot_loader = part("syslinux.cfg", recipe::BOOT_LOADER.as_bytes())?;
    fs::File::create(&disk)?.set_len(SECTORS * 512)?;

    let (disk_name, sectors) = (disk.as_os_str(), SECTORS.to_string());
    let argument = OsStr::new;
    let geometry = ["-T", &sectors, "-h", "64", "-s", "32", "-v", "REEVE", "::"].map(argument);
    run("mformat", [argument("-i"), disk_name].into_iter().chain(geometry))?;
    for (file, name) in [(&kernel, "::vmlinuz"), (&initial, "::initrd"), (&boot_loader, "::syslinux.cfg")] {
        run("mcopy", [argument("-i"), disk_name, file.as_os_str(), argument(name)])?;
    }
    run("syslinux", [argument("--install"), disk_name])?;
    let convert = ["convert", "-f", "raw", "-O", "qcow2"].map(argument);
    run("qemu-img", convert.into_iter().chain([disk_name, finished.as_os_str()]))?;
    Ok(finished)
}

fn run<I>(program: &str, arguments: I) -> Result<String>
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}; `make setup` installs it"))?;
    if !output.status.success() {
        bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_with_modules_is_taken() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("boot")).unwrap();
        for (release, has_modules) in [
            ("6.1.0-9-cloud-amd64", true),
            ("6.1.0-56-cloud-amd64", true),
            ("6.1.0-60-cloud-amd64", false),
            ("6.9.0-1-amd64", true),
        ] {
            fs::write(root.path().join("boot").join(format!("vmlinuz-{release}")), "").unwrap();
            if has_modules {
                fs::create_dir_all(root.path().join("lib/modules").join(release)).unwrap();
            }
        }
        let kernel = newest_kernel(&[Path::new("/nowhere"), root.path()]).unwrap();
        assert!(kernel.image.ends_with("vmlinuz-6.1.0-56-cloud-amd64"), "{kernel:?}");
        assert!(kernel.modules.ends_with("6.1.0-56-cloud-amd64"), "{kernel:?}");
        assert!(newest_kernel(&[Path::new("/nowhere")]).is_err());
    }

    #[test]
    fn libraries_are_what_the_loader_found() {
        let listed = "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        assert_eq!(
            parse_libraries(listed),
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }

    #[test]
    fn an_image_is_built_once_and_is_a_qcow2() {
        let cache = tempfile::tempdir().unwrap();
        let builder = Builder::new(cache.path());
        let first = builder.image(Variant::Good).unwrap();
        assert_eq!(&fs::read(&first).unwrap()[..4], b"QFI\xfb");
        let made = fs::metadata(&first).unwrap().modified().unwrap();
        assert_eq!(builder.image(Variant::Good).unwrap(), first);
        assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), made, "it was built again");
        let left: Vec<_> =
            fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_ne!(builder.image(Variant::Mute).unwrap(), first);
    }
}
