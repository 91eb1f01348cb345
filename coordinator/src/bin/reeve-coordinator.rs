//! The coordinator's command: initialise, check the configuration, run, and keep what it knows from being lost.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use reeve_common::check::{Verdict, told, worst};
use reeve_common::clock::{Clock, SystemClock};
use reeve_common::logging::{self, messages};
use reeve_common::service_user::become_owner;
use reeve_coordinator::audit::offline;
use reeve_coordinator::backup::{Restored, restore, save, verify};
use reeve_coordinator::command_line::{
    Arguments, Command, EXIT_DEPOSED, EXIT_FAILURE, EXIT_USAGE, OutputFormat, RecoverArguments,
};
use reeve_coordinator::config::CoordinatorConfig;
use reeve_coordinator::recovery::{RecoverRequest, recover};
use reeve_coordinator::{chain, config, daemon, doctor, initialise};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let path = &arguments.config;
    match arguments.command {
        Command::Check => config::command_check(path),
        Command::Init => with_config(path, init),
        Command::Run => run(path),
        Command::Doctor { quiet, output } => examine(path, quiet, output),
        Command::AuditVerify { store, any_key } => {
            with_config(path, |config| audit_verify(&config, store, any_key))
        }
        Command::Backup { file } => {
            with_config(path, |config| match save(&config, &file, SystemClock.now()) {
                Err(error) => fail(EXIT_FAILURE, &chain(&error)),
                Ok(()) => say(&[
                    format!("Saved to {}: the store and the certificate authority.", file.display()),
                    "Keep it as secret as the authority; the configuration in /etc/reeve is saved apart."
                        .to_owned(),
                ]),
            })
        }
        Command::Restore { file, replace } => with_config(path, |config| restored(&config, &file, replace)),
        Command::Verify { file } => with_config(path, |config| verified(&config, file.as_deref())),
        Command::Recover(arguments) => with_config(path, |config| recovered(config, arguments)),
    }
}

/// Root works as whoever the state belongs to, so that nothing of it becomes root's.
fn with_config(path: &Path, command: impl FnOnce(CoordinatorConfig) -> ExitCode) -> ExitCode {
    let config = match config::check(path) {
        Err(errors) => return fail(EXIT_USAGE, &errors.to_string()),
        Ok((config, _)) => config,
    };
    match become_owner(&config.state_directory) {
        Err(error) => fail(EXIT_FAILURE, &chain(&error)),
        Ok(_) => command(config),
    }
}

#[allow(clippy::needless_pass_by_value)] // as the other commands are handed it
fn init(config: CoordinatorConfig) -> ExitCode {
    match initialise::initialise(&config, SystemClock.now()) {
        Err(error) => fail(EXIT_FAILURE, &chain(&error)),
        Ok(fingerprint) => say(&[
            format!("The coordinator is initialised in {}.", config.state_directory.display()),
            format!(
                "Its certificate authority is {fingerprint}: `reeve-coordinator backup FILE` saves it; keep that secret."
            ),
            "Next: `systemctl start reeve-coordinator`, or by hand `reeve-coordinator run`; then `reeve host add` and `reeve host join-token`.".to_owned(),
        ]),
    }
}

fn run(path: &Path) -> ExitCode {
    logging::init("reeve-coordinator", None);
    let ended = on_runtime(daemon::run(path));
    let code = match ended {
        Err(code) => code,
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error @ daemon::DaemonError::Config(_))) => fail_to_run(EXIT_USAGE, &chain(&error)),
        Ok(Err(error @ daemon::DaemonError::Deposed(_))) => fail_to_run(EXIT_DEPOSED, &chain(&error)),
        Ok(Err(error)) => fail_to_run(EXIT_FAILURE, &chain(&error)),
    };
    logging::finish();
    code
}

/// Says it where it is read: a service's error stands in the journal as an error.
fn fail_to_run(code: u8, message: &str) -> ExitCode {
    if logging::goes_to_journal() {
        log::error!(MESSAGE_ID:% = messages::COORDINATOR_FAILED; "{message}");
        return ExitCode::from(code);
    }
    fail(code, message)
}

/// Looks at this machine and says what was found.
fn examine(path: &Path, quiet: bool, output: OutputFormat) -> ExitCode {
    let checks = doctor::judge(&doctor::gather(path, &SystemClock));
    match output {
        OutputFormat::Text => write_out(&told(&checks, quiet)),
        OutputFormat::Json => {
            let shown: Vec<_> =
                checks.iter().filter(|check| !quiet || check.verdict == Verdict::Failure).collect();
            match serde_json::to_string_pretty(&shown) {
                Ok(text) => write_out(&format!("{text}\n")),
                Err(error) => return fail(1, &error.to_string()),
            }
        }
    }
    if worst(&checks) == Verdict::Failure { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// A command's answer. Whoever reads it may have seen enough, as `head` does.
fn write_out(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn restored(config: &CoordinatorConfig, file: &Path, replace: bool) -> ExitCode {
    let chance = match random() {
        Ok(chance) => chance,
        Err(problem) => return fail(EXIT_FAILURE, &problem),
    };
    let outcome = match on_runtime(restore(config, file, replace, chance, SystemClock.now())) {
        Ok(outcome) => outcome,
        Err(code) => return code,
    };
    match outcome {
        Err(error) => fail(EXIT_FAILURE, &chain(&error)),
        Ok(Restored { made_at, records, epoch, set_aside, authority_restored }) => {
            let made_at = made_at.map_or_else(|| "an unknown time".to_owned(), |at| at.to_string());
            let mut lines = vec![format!("Restored: {records} records as they were at {made_at}.")];
            if authority_restored {
                lines.push("The certificate authority was missing and is the backup's now.".to_owned());
            }
            lines.extend(
                set_aside.map(|aside| format!("The store that was there is {} now.", aside.display())),
            );
            lines.push(format!("The next coordinator's epoch is above {epoch}, so that agents obey it."));
            lines.push("What has happened since is not in it, so no coordinator runs on it yet. Next: `reeve-coordinator recover`.".to_owned());
            say(&lines)
        }
    }
}

fn verified(config: &CoordinatorConfig, file: Option<&Path>) -> ExitCode {
    let store = config.store_path();
    let path = file.unwrap_or(&store);
    match verify(path, config) {
        Err(error) => fail(EXIT_FAILURE, &chain(&error)),
        Ok(verdict) => {
            let code = say(&verdict.facts);
            if verdict.problems.is_empty() {
                say(&[format!("{} is whole.", path.display())]);
                return code;
            }
            fail(
                EXIT_FAILURE,
                &format!("{} does not hold together:\n  {}", path.display(), verdict.problems.join("\n  ")),
            )
        }
    }
}

fn recovered(config: CoordinatorConfig, arguments: RecoverArguments) -> ExitCode {
    logging::init("reeve-coordinator", None);
    let request = RecoverRequest {
        wait: arguments.wait,
        hosts: arguments.hosts,
        profile: arguments.profile,
        profiles: arguments.host_profile.into_iter().collect(),
        again: arguments.again,
        dry_run: arguments.dry_run,
    };
    match on_runtime(recover(config, &request, Arc::new(SystemClock))) {
        Err(code) => code,
        Ok(Err(error)) => fail(EXIT_FAILURE, &chain(&error)),
        Ok(Ok(recovered)) => say(&recovered.lines),
    }
}

fn random() -> Result<u64, String> {
    use ring::rand::{SecureRandom as _, SystemRandom};
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "this machine gives no random numbers".to_owned())?;
    Ok(u64::from_le_bytes(bytes))
}

fn on_runtime<T>(work: impl Future<Output = T>) -> Result<T, ExitCode> {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => Ok(runtime.block_on(work)),
        Err(error) => Err(fail(EXIT_FAILURE, &format!("no runtime: {error}"))),
    }
}

fn say(lines: &[String]) -> ExitCode {
    write_out(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    ExitCode::SUCCESS
}

fn audit_verify(config: &CoordinatorConfig, store: Option<PathBuf>, any_key: bool) -> ExitCode {
    let store = store.unwrap_or_else(|| config.store_path());
    let pki = config.pki_directory();
    let pki = (!any_key).then_some(pki.as_path());
    match on_runtime(offline::verify_file(&store, pki, SystemClock.now())) {
        Err(code) => code,
        Ok(Err(error)) => fail(EXIT_FAILURE, &chain(&error)),
        Ok(Ok(report)) => {
            write_out(&offline::words(&report));
            if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) }
        }
    }
}

#[allow(clippy::print_stderr)] // the one place where a failure is shown
fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("reeve-coordinator: {message}");
    ExitCode::from(code)
}
