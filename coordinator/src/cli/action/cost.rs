//! Owns the commands about cost functions. Only what is about the coordinator's own fleet or list asks it.

use std::path::Path;

use reeve_common::ids::CostFunctionName;
use reeve_scheduler::{CostError, CostFunction, attributes, curves};

use super::Run;
use crate::cli::arguments::{CostCommand, Format, PlotArguments};
use crate::cli::cost_chart::{ChartError, Subject, Wish, chart};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::plot;
use crate::cli::screen::json;
use crate::cli::show;
use crate::config::{self, ConfigErrors, Excerpt};

impl Run<'_> {
    pub(super) async fn cost(&mut self, command: CostCommand) -> Result<Exit, Failure> {
        let text = match command {
            CostCommand::List => {
                show::cost::cost_functions(&self.screen, &self.client.cost_functions().await?)
            }
            CostCommand::Explain { name, arguments } => return self.explain_cost(&name, &arguments).await,
            CostCommand::Curves { name: None } => show::cost::curves(&self.screen, &curves()),
            CostCommand::Curves { name: Some(name) } => self.curve(&name)?,
            CostCommand::Attributes => show::cost::attributes(&self.screen, &attributes()),
            CostCommand::Check { file } => return self.check_cost_functions(&file),
            CostCommand::Plot(arguments) => return self.plot(&arguments),
        };
        self.print(&text)
    }

    fn curve(&self, name: &str) -> Result<String, Failure> {
        let all = curves();
        let Some(curve) = all.iter().find(|curve| curve.name == name) else {
            let names: Vec<&str> = all.iter().map(|curve| curve.name).collect();
            let advice = format!("the curves are {}", names.join(", "));
            return Err(Failure::new(Exit::NotFound, format!("there is no curve {name}")).advise(advice));
        };
        let subject = Subject::expression(curve.example).map_err(|errors| rendered(&errors))?;
        let picture = chart(&[subject], &Wish::default())?;
        let picture = plot::terminal(&picture, self.terminal.columns, self.terminal.characters);
        Ok(show::cost::curve(&self.screen, curve, &picture))
    }

    fn check_cost_functions(&mut self, file: &Path) -> Result<Exit, Failure> {
        let (functions, findings) = match config::check_cost_functions(file) {
            Ok((functions, findings)) => (functions, ConfigErrors { findings, not_kept: 0 }),
            Err(errors) => (Vec::new(), errors),
        };
        let report = show::cost::checked(&self.screen, file, &functions, &findings);
        // Where standard error is closed nobody is to be told.
        let _ = self.err.write_all(report.err.as_bytes());
        let exit = self.print(&report.out)?;
        Ok(if findings.count() > 0 { Exit::Usage } else { exit })
    }

    fn plot(&mut self, arguments: &PlotArguments) -> Result<Exit, Failure> {
        let subjects = self.subjects(arguments)?;
        let PlotArguments { attribute, from, to, with, svg, .. } = arguments;
        let (attribute, from, to, with) = (attribute.clone(), from.clone(), to.clone(), with.clone());
        let chart = chart(&subjects, &Wish { attribute, from, to, with })?;
        if let Some(file) = svg {
            std::fs::write(file, plot::svg(&chart)).map_err(|error| {
                Failure::new(Exit::Failed, format!("{} cannot be written: {error}", file.display()))
            })?;
            self.remark(&format!("{} written\n", file.display()));
        }
        match self.screen.format {
            Format::Json => self.print(&json(&chart)),
            Format::Table if svg.is_some() => Ok(Exit::Done),
            Format::Table => {
                self.print(&plot::terminal(&chart, self.terminal.columns, self.terminal.characters))
            }
        }
    }

    /// What is to be drawn: all that is named; or all of the file.
    fn subjects(&mut self, arguments: &PlotArguments) -> Result<Vec<Subject>, Failure> {
        let mut of_file: Vec<Subject> = Vec::new();
        if let Some(file) = &arguments.file {
            let (functions, warnings) = config::check_cost_functions(file)
                .map_err(|errors| Failure::new(Exit::Usage, errors.to_string()))?;
            for warning in warnings {
                self.remark(&format!("{warning}\n"));
            }
            of_file = functions.iter().map(|function| Subject::of(CostFunction::clone(function))).collect();
        }
        if arguments.names.is_empty() {
            return Ok(of_file);
        }
        let known: Vec<Subject> = of_file.into_iter().chain(Subject::presets()).collect();
        arguments.names.iter().map(|name| subject(name, &known)).collect()
    }
}

/// The cost function of this name, or what it says as an expression.
fn subject(name: &str, known: &[Subject]) -> Result<Subject, Failure> {
    if let Some(subject) = known.iter().find(|subject| subject.name == name) {
        return Ok(subject.clone());
    }
    Subject::expression(name).map_err(|errors| {
        if CostFunctionName::new(name).is_err() {
            return rendered(&errors);
        }
        let names: Vec<&str> = known.iter().map(|subject| subject.name.as_str()).collect();
        let advice = format!(
            "here are {}; others come from --file FILE; an expression is written as in a term, such as \"power(x, 2)\"",
            names.join(", ")
        );
        Failure::new(Exit::NotFound, format!("there is no cost function {name}")).advise(advice)
    })
}

/// Mistakes in an expression, each with carets under its place.
fn rendered(errors: &[CostError]) -> Failure {
    let shown = errors.iter().map(|error| {
        let help = error.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
        let (start, end) = (error.span.0, error.span.0.saturating_add(error.span.1));
        let marked = error.source_text.get(start..end).map_or(1, |marked| marked.chars().count());
        let Excerpt { text, start, length } = Excerpt::new(&error.source_text, error.column() - 1, marked);
        format!("{}{help}\n{text}\n{}{}", error.message, " ".repeat(start), "^".repeat(length))
    });
    Failure::new(Exit::Usage, shown.collect::<Vec<_>>().join("\n"))
}

impl From<ChartError> for Failure {
    fn from(error: ChartError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}
