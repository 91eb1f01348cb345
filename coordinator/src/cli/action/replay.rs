//! Owns carrying out `reeve replay`: reads the trace and the cost functions, replays every run, and shows them together.
//! The coordinator is not asked.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reeve_common::clock::{Clock, SystemClock};
use reeve_scheduler::{ChoiceRule, CostFunction, presets};

use super::Run;
use crate::chain;
use crate::cli::arguments::ReplayArguments;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::plot;
use crate::cli::progress::{Work, spinner};
use crate::cli::show;
use crate::config;
use crate::replay::{self, CostReport, OverSeeds, Replay, Report, Schedule, Timing, Trace};

/// Files from this size on take about a second to read.
const LARGE_BYTES: u64 = 32 << 20;
/// Cost functions of one call: as many as a picture can show.
const COSTS_MAX: usize = plot::LINES_MAX;

impl Run<'_> {
    pub(super) fn replay(&mut self, arguments: &ReplayArguments) -> Result<Exit, Failure> {
        let candidates = self.candidates(&arguments.costs)?;
        let trace = self.read_trace(arguments)?;
        let report = self.replay_all(arguments, &trace, &candidates)?;
        if let Some(file) = &arguments.svg {
            let image = plot::svg(&show::replay::chart(&report));
            std::fs::write(file, image).map_err(|error| {
                let message = format!("{} cannot be written: {error}", file.display());
                Failure::new(Exit::Failed, message)
            })?;
        }
        self.print(&show::replay::report(&self.screen, &self.terminal, &report))
    }

    fn read_trace(&mut self, arguments: &ReplayArguments) -> Result<Trace, Failure> {
        let size = std::fs::metadata(&arguments.vms).map_or(0, |metadata| metadata.len());
        let spinner = (size >= LARGE_BYTES)
            .then(|| spinner(self.progress, &format!("reading {}", arguments.vms.display())))
            .flatten();
        let trace = replay::read(&arguments.hosts, &arguments.vms);
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        trace.map_err(|errors| Failure::new(Exit::Usage, errors.to_string()))
    }

    fn replay_all(
        &mut self,
        arguments: &ReplayArguments,
        trace: &Trace,
        candidates: &[Candidate],
    ) -> Result<Report, Failure> {
        let schedules = schedules(arguments, trace)?;
        let begun = SystemClock.monotonic();
        let mut work = Work::new(self.progress, candidates.len() * schedules.len());
        let mut reports = Vec::with_capacity(candidates.len());
        for Candidate { function: cost, file } in candidates {
            let mut runs = Vec::with_capacity(schedules.len());
            for schedule in &schedules {
                let name = match schedule.seed() {
                    Some(seed) if schedules.len() > 1 => format!("{}, seed {seed}", cost.name()),
                    _ => cost.name().to_string(),
                };
                runs.push(replay_one(trace, schedule, cost, &mut |fraction| {
                    work.advance(&name, fraction, since(begun));
                })?);
                work.finish_part(&name, since(begun), self.err);
            }
            let Some(over_runs) = OverSeeds::of(&runs) else { continue };
            let terms = cost.terms().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
            let (name, file) = (cost.name().clone(), file.clone());
            reports.push(CostReport { name, file, by: cost.rule(), terms, runs, over_runs });
        }
        work.finish();
        let order = schedules.first().map_or(replay::Order::Times, Schedule::order);
        Ok(Report { trace: replay::summary(trace), order, cost_functions: reports })
    }
}

fn schedules(arguments: &ReplayArguments, trace: &Trace) -> Result<Vec<Schedule>, Failure> {
    if !arguments.ignore_times {
        return Ok(vec![Schedule::timed(trace)]);
    }
    let drawn = arguments.all_seeds().map(|seed| Schedule::drawn(trace, arguments.demand, seed));
    drawn.collect::<Result<_, _>>().map_err(|error| Failure::new(Exit::Usage, chain(&error)))
}

fn replay_one(
    trace: &Trace,
    schedule: &Schedule,
    cost: &Arc<CostFunction>,
    watch: &mut dyn FnMut(f64),
) -> Result<replay::Run, Failure> {
    let failed = |error: replay::RunError| Failure::new(Exit::Failed, chain(&error));
    let replay = Replay::new(trace, schedule, cost).map_err(failed)?;
    let begun = SystemClock.monotonic();
    #[allow(clippy::cast_precision_loss)] // a fraction for people
    let outcome = replay.run(&mut |done, all| watch(done as f64 / all.max(1) as f64)).map_err(failed)?;
    let wall_seconds = since(begun).as_secs_f64();
    #[allow(clippy::cast_precision_loss)] // at most ten million
    let decisions_per_second = outcome.arrived as f64 / wall_seconds.max(f64::MIN_POSITIVE);
    let timing = Timing { wall_seconds, decisions_per_second };
    Ok(replay::Run { seed: schedule.seed(), outcome, timing })
}

fn since(begun: Instant) -> Duration {
    SystemClock.monotonic() - begun
}

/// A cost function and the file it is from; none for a preset.
#[derive(Debug, Clone)]
struct Candidate {
    function: Arc<CostFunction>,
    file: Option<String>,
}

fn all_presets() -> Vec<Candidate> {
    // The scheduler's own tests compile every preset.
    let compiled = presets()
        .into_iter()
        .filter_map(|(name, terms)| CostFunction::compile(&name, &terms, ChoiceRule::default()).ok());
    compiled.map(|function| Candidate { function: Arc::new(function), file: None }).collect()
}

impl Run<'_> {
    /// The cost functions that were named; all presets when none was.
    fn candidates(&mut self, named: &[String]) -> Result<Vec<Candidate>, Failure> {
        let presets = all_presets();
        if named.is_empty() {
            return Ok(presets);
        }
        let mut candidates = Vec::new();
        for named in named {
            match presets.iter().find(|preset| preset.function.name().as_str() == named) {
                Some(preset) => candidates.push(preset.clone()),
                None => candidates.extend(self.declared_in(named, &presets)?),
            }
        }
        if candidates.len() > COSTS_MAX {
            let message = format!("{} cost functions are too many to stand side by side", candidates.len());
            return Err(Failure::new(Exit::Usage, message).advise(format!("name at most {COSTS_MAX}")));
        }
        Ok(candidates)
    }

    /// Those of `FILE`, or the one of `FILE:NAME`.
    fn declared_in(&mut self, named: &str, presets: &[Candidate]) -> Result<Vec<Candidate>, Failure> {
        let (file, name) = match named.rsplit_once(':') {
            _ if Path::new(named).exists() => (named, None),
            Some((file, name)) if Path::new(file).exists() => (file, Some(name)),
            _ => {
                let message = format!("there is neither a preset nor a file {named}");
                return Err(
                    Failure::new(Exit::NotFound, message).advise(format!("presets are {}", list(presets)))
                );
            }
        };
        let (functions, warnings) = config::check_cost_functions(Path::new(file))
            .map_err(|errors| Failure::new(Exit::Usage, errors.to_string()))?;
        for warning in warnings {
            self.remark(&format!("{warning}\n"));
        }
        let of_file = |function| Candidate { function, file: Some(file.to_owned()) };
        let mut candidates: Vec<Candidate> = functions.into_iter().map(of_file).collect();
        if let Some(name) = name {
            let all = list(&candidates);
            candidates.retain(|candidate| candidate.function.name().as_str() == name);
            if candidates.is_empty() {
                let message = format!("there is no cost function {name} in {file}");
                return Err(Failure::new(Exit::NotFound, message).advise(format!("it has {all}")));
            }
        }
        Ok(candidates)
    }
}

fn list(candidates: &[Candidate]) -> String {
    candidates.iter().map(|candidate| candidate.function.name().as_str()).collect::<Vec<_>>().join(", ")
}
