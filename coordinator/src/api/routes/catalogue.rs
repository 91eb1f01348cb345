//! Owns the questions about images, hardware setups, VM configurations and drives.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use reeve_common::clock::{Clock, SystemClock};
use reeve_common::ids::{ConfigurationName, DriveName, ImageName, SetupName};

use super::carried_out;
use crate::api::answer::Refusal;
use crate::api::conversions::{
    configuration_of, configuration_to_make, drive_of, drive_to_make, image_of, image_to_make, setup_of,
    setup_to_make,
};
use crate::api::question::{Asking, Body, Named};
use crate::api::types::{
    Configuration, Drive, Image, NewConfiguration, NewDrive, NewImage, NewSetup, ProblemReport, Setup,
};
use crate::service::Service;

type Answer<T> = Result<Json<T>, Refusal>;
type Made<T> = Result<(StatusCode, Json<T>), Refusal>;

/// All images.
#[utoipa::path(get, path = "/v1/images", tag = "images", responses(
    (status = 200, description = "All images", body = Vec<Image>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn images(State(service): State<Service>) -> Json<Vec<Image>> {
    Json(service.images().iter().map(|image| image_of(image)).collect())
}

/// One image.
#[utoipa::path(get, path = "/v1/images/{image}", tag = "images",
    params(("image" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The image", body = Image),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn image(
    State(service): State<Service>,
    Named(name): Named<ImageName>,
) -> Answer<Image> {
    Ok(Json(image_of(&*service.image(&name)?)))
}

/// Makes an image.
#[utoipa::path(post, path = "/v1/images", tag = "images", request_body = NewImage, responses(
    (status = 201, description = "The image as made", body = Image),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn create_image(
    State(service): State<Service>,
    Asking(actor): Asking,
    Body(new): Body<NewImage>,
) -> Made<Image> {
    let image = image_to_make(new, SystemClock.now());
    let made = carried_out(async move { service.create_image(image, &actor).await }).await?;
    Ok((StatusCode::CREATED, Json(image_of(&made))))
}

/// Forgets an image that no setup uses. Its volume stays.
#[utoipa::path(delete, path = "/v1/images/{image}", tag = "images",
    params(("image" = String, Path, description = "Its name")), responses(
    (status = 204, description = "It is gone"),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn delete_image(
    State(service): State<Service>,
    Named(name): Named<ImageName>,
    Asking(actor): Asking,
) -> Result<StatusCode, Refusal> {
    carried_out(async move { service.delete_image(&name, &actor).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All hardware setups.
#[utoipa::path(get, path = "/v1/setups", tag = "setups", responses(
    (status = 200, description = "All hardware setups", body = Vec<Setup>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn setups(State(service): State<Service>) -> Json<Vec<Setup>> {
    Json(service.setups().iter().map(|setup| setup_of(setup)).collect())
}

/// One hardware setup.
#[utoipa::path(get, path = "/v1/setups/{setup}", tag = "setups",
    params(("setup" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The hardware setup", body = Setup),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn setup(
    State(service): State<Service>,
    Named(name): Named<SetupName>,
) -> Answer<Setup> {
    Ok(Json(setup_of(&*service.setup(&name)?)))
}

/// Makes a hardware setup.
#[utoipa::path(post, path = "/v1/setups", tag = "setups", request_body = NewSetup, responses(
    (status = 201, description = "The hardware setup as made", body = Setup),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn create_setup(
    State(service): State<Service>,
    Asking(actor): Asking,
    Body(new): Body<NewSetup>,
) -> Made<Setup> {
    let setup = setup_to_make(new, SystemClock.now())?;
    let made = carried_out(async move { service.create_setup(setup, &actor).await }).await?;
    Ok((StatusCode::CREATED, Json(setup_of(&made))))
}

/// Deletes a hardware setup that no configuration uses.
#[utoipa::path(delete, path = "/v1/setups/{setup}", tag = "setups",
    params(("setup" = String, Path, description = "Its name")), responses(
    (status = 204, description = "It is gone"),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn delete_setup(
    State(service): State<Service>,
    Named(name): Named<SetupName>,
    Asking(actor): Asking,
) -> Result<StatusCode, Refusal> {
    carried_out(async move { service.delete_setup(&name, &actor).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All VM configurations.
#[utoipa::path(get, path = "/v1/configurations", tag = "configurations", responses(
    (status = 200, description = "All VM configurations", body = Vec<Configuration>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn configurations(State(service): State<Service>) -> Json<Vec<Configuration>> {
    Json(service.configurations().iter().map(|configuration| configuration_of(configuration)).collect())
}

/// One VM configuration.
#[utoipa::path(get, path = "/v1/configurations/{configuration}", tag = "configurations",
    params(("configuration" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The VM configuration", body = Configuration),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn configuration(
    State(service): State<Service>,
    Named(name): Named<ConfigurationName>,
) -> Answer<Configuration> {
    Ok(Json(configuration_of(&*service.configuration(&name)?)))
}

/// Makes a VM configuration.
#[utoipa::path(post, path = "/v1/configurations", tag = "configurations", request_body = NewConfiguration, responses(
    (status = 201, description = "The VM configuration as made", body = Configuration),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn create_configuration(
    State(service): State<Service>,
    Asking(actor): Asking,
    Body(new): Body<NewConfiguration>,
) -> Made<Configuration> {
    let configuration = configuration_to_make(new, SystemClock.now());
    let made = carried_out(async move { service.create_configuration(configuration, &actor).await }).await?;
    Ok((StatusCode::CREATED, Json(configuration_of(&made))))
}

/// Deletes a VM configuration that has no VM.
#[utoipa::path(delete, path = "/v1/configurations/{configuration}", tag = "configurations",
    params(("configuration" = String, Path, description = "Its name")), responses(
    (status = 204, description = "It is gone"),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn delete_configuration(
    State(service): State<Service>,
    Named(name): Named<ConfigurationName>,
    Asking(actor): Asking,
) -> Result<StatusCode, Refusal> {
    carried_out(async move { service.delete_configuration(&name, &actor).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All drives.
#[utoipa::path(get, path = "/v1/drives", tag = "drives", responses(
    (status = 200, description = "All drives", body = Vec<Drive>),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn drives(State(service): State<Service>) -> Json<Vec<Drive>> {
    Json(service.drives().iter().map(|drive| drive_of(drive)).collect())
}

/// One drive.
#[utoipa::path(get, path = "/v1/drives/{drive}", tag = "drives",
    params(("drive" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The drive", body = Drive),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn drive(
    State(service): State<Service>,
    Named(name): Named<DriveName>,
) -> Answer<Drive> {
    Ok(Json(drive_of(&*service.drive(&name)?)))
}

/// Makes a drive.
#[utoipa::path(post, path = "/v1/drives", tag = "drives", request_body = NewDrive, responses(
    (status = 201, description = "The drive as made", body = Drive),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn create_drive(
    State(service): State<Service>,
    Asking(actor): Asking,
    Body(new): Body<NewDrive>,
) -> Made<Drive> {
    let drive = drive_to_make(new)?;
    let made = carried_out(async move { service.create_drive(drive, &actor).await }).await?;
    Ok((StatusCode::CREATED, Json(drive_of(&made))))
}

/// Deletes a drive and all that is on it.
#[utoipa::path(delete, path = "/v1/drives/{drive}", tag = "drives",
    params(("drive" = String, Path, description = "Its name")), responses(
    (status = 204, description = "It is gone"),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn delete_drive(
    State(service): State<Service>,
    Named(name): Named<DriveName>,
    Asking(actor): Asking,
) -> Result<StatusCode, Refusal> {
    carried_out(async move { service.delete_drive(&name, &actor).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
