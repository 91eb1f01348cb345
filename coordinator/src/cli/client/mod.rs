//! Owns the questions the coordinator can be asked, one method each, in the words of the API's documents.
//!
//! Must not: print, or decide what an answer means for whoever asked.

mod transport;

use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use reeve_common::clock::Timestamp;
use reeve_common::ids::{
    ConfigurationName, CostFunctionName, DriveName, HostName, ImageName, RealmName, SetupName, VmId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::transport::Transport;
use super::exit::Exit;
use super::failure::Failure;
use super::selector::VmSelector;
use crate::api::types::{
    AdoptionRequest, AuditPage, AuditVerification, Comparison, Configuration, CostEvaluation, CostFunction,
    DrainRequest, Drive, Explanation, Fence, FenceTrial, Host, HostComparison, HostComparisonRequest,
    HostState, Image, JoinToken, JoinTokenRequest, JournalPage, NewConfiguration, NewDrive, NewHost,
    NewImage, NewSetup, PoolKind, Profile, Realm, Setup, ShutdownRequest, Simulation, SimulationRequest,
    StartOutcome, StartRequest, StartsRequest, StateChange, Status, UnmanagedDomain, Vm, VmDetail, VmLog,
    Volumes, Warning, Workflow,
};

/// A way to ask one coordinator. Cheap to clone; each question has a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
}

type Answer<T> = Result<T, Failure>;

impl Client {
    /// Asks through `socket`. Nothing is connected yet.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { transport: Transport::new(socket) }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        read(&self.transport.send(Method::GET, path, None).await?)
    }

    async fn send<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Answer<T> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Failure::new(Exit::Failed, format!("the question cannot be written as JSON: {error}"))
        })?;
        read(&self.transport.send(method, path, Some(body)).await?)
    }

    async fn post<B: Serialize + Sync, T: DeserializeOwned>(&self, path: &str, body: &B) -> Answer<T> {
        self.send(Method::POST, path, body).await
    }

    async fn remove(&self, path: &str) -> Answer<()> {
        self.transport.send(Method::DELETE, path, None).await.map(drop)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Answer<T> {
    serde_json::from_slice(body).map_err(|error| {
        Failure::new(Exit::Failed, format!("the coordinator's answer is not understood: {error}"))
            .advise("are `reeve` and the coordinator of the same version? `reeve --version`, `reeve status`")
    })
}

/// What is asked, in the order of `reeve --help`. Every name was checked when it was read, so it can stand in a path.
#[allow(missing_docs, clippy::missing_errors_doc)] // each is the one line it says; the documents are in `api::types`
impl Client {
    pub async fn status(&self) -> Answer<Status> {
        self.get("/v1/status").await
    }

    /// An answer as it came.
    pub async fn document(&self, path: &str) -> Answer<hyper::body::Bytes> {
        self.transport.send(Method::GET, path, None).await
    }

    pub async fn warnings(&self) -> Answer<Vec<Warning>> {
        self.get("/v1/warnings").await
    }

    /// By its kind and subject with a slash between them.
    pub async fn acknowledge_warning(&self, id: &str) -> Answer<Warning> {
        self.post(&format!("/v1/warnings/{id}/acknowledge"), &serde_json::json!({})).await
    }

    pub async fn last_audit_records(&self, count: u64) -> Answer<AuditPage> {
        self.get(&format!("/v1/audit?count={count}")).await
    }

    /// Records from a number on; waits for `at_most` when there is none yet.
    pub async fn audit_records(&self, from: u64, count: u64, at_most: Duration) -> Answer<AuditPage> {
        self.get(&format!("/v1/audit?from={from}&count={count}&wait-ms={}", at_most.as_millis())).await
    }

    pub async fn audit_verification(&self) -> Answer<AuditVerification> {
        self.get("/v1/audit/verification").await
    }

    pub async fn realms(&self) -> Answer<Vec<Realm>> {
        self.get("/v1/realms").await
    }

    pub async fn realm(&self, name: &RealmName) -> Answer<Realm> {
        self.get(&format!("/v1/realms/{name}")).await
    }

    pub async fn volumes(&self, realm: &RealmName, pool: PoolKind) -> Answer<Volumes> {
        self.get(&format!("/v1/realms/{realm}/volumes/{}", pool.as_str())).await
    }

    pub async fn profiles(&self) -> Answer<Vec<Profile>> {
        self.get("/v1/profiles").await
    }

    pub async fn cost_functions(&self) -> Answer<Vec<CostFunction>> {
        self.get("/v1/cost-functions").await
    }

    pub async fn hosts(&self) -> Answer<Vec<Host>> {
        self.get("/v1/hosts").await
    }

    pub async fn host(&self, name: &HostName) -> Answer<Host> {
        self.get(&format!("/v1/hosts/{name}")).await
    }

    pub async fn add_host(&self, host: &NewHost) -> Answer<Host> {
        self.post("/v1/hosts", host).await
    }

    pub async fn set_host_state(&self, name: &HostName, state: HostState) -> Answer<Host> {
        self.send(Method::PUT, &format!("/v1/hosts/{name}/state"), &StateChange { state }).await
    }

    pub async fn create_join_token(&self, name: &HostName, request: &JoinTokenRequest) -> Answer<JoinToken> {
        self.post(&format!("/v1/hosts/{name}/join-token"), request).await
    }

    pub async fn compare_host(
        &self,
        name: &HostName,
        request: &HostComparisonRequest,
    ) -> Answer<HostComparison> {
        self.post(&format!("/v1/hosts/{name}/comparison"), request).await
    }

    pub async fn fence_host(&self, name: &HostName) -> Answer<Fence> {
        self.post(&format!("/v1/hosts/{name}/fence"), &()).await
    }

    pub async fn try_fence(&self, name: &HostName) -> Answer<FenceTrial> {
        self.post(&format!("/v1/hosts/{name}/fence-trial"), &()).await
    }

    pub async fn confirm_off(&self, name: &HostName) -> Answer<Fence> {
        self.post(&format!("/v1/hosts/{name}/confirm-off"), &()).await
    }

    pub async fn delete_host(&self, name: &HostName) -> Answer<()> {
        self.remove(&format!("/v1/hosts/{name}")).await
    }

    pub async fn drain_host(&self, name: &HostName, request: &DrainRequest) -> Answer<Workflow> {
        self.post(&format!("/v1/hosts/{name}/drain"), request).await
    }

    pub async fn cancel_drain(&self, name: &HostName) -> Answer<Workflow> {
        read(&self.transport.send(Method::DELETE, &format!("/v1/hosts/{name}/drain"), None).await?)
    }

    pub async fn undrain_host(&self, name: &HostName) -> Answer<Host> {
        self.post(&format!("/v1/hosts/{name}/undrain"), &serde_json::json!({})).await
    }

    pub async fn workflows(&self) -> Answer<Vec<Workflow>> {
        self.get("/v1/workflows").await
    }

    pub async fn workflow(&self, id: u64) -> Answer<Workflow> {
        self.get(&format!("/v1/workflows/{id}")).await
    }

    /// Waits until the workflow's document is newer than `version`, or `at_most` is over; then returns it as it is.
    pub async fn workflow_changed(&self, id: u64, version: u64, at_most: Duration) -> Answer<Workflow> {
        self.get(&format!("/v1/workflows/{id}/changes?after={version}&wait-ms={}", at_most.as_millis())).await
    }

    pub async fn cancel_workflow(&self, id: u64) -> Answer<Workflow> {
        self.post(&format!("/v1/workflows/{id}/cancel"), &serde_json::json!({})).await
    }

    pub async fn images(&self) -> Answer<Vec<Image>> {
        self.get("/v1/images").await
    }

    pub async fn image(&self, name: &ImageName) -> Answer<Image> {
        self.get(&format!("/v1/images/{name}")).await
    }

    pub async fn create_image(&self, image: &NewImage) -> Answer<Image> {
        self.post("/v1/images", image).await
    }

    pub async fn delete_image(&self, name: &ImageName) -> Answer<()> {
        self.remove(&format!("/v1/images/{name}")).await
    }

    pub async fn setups(&self) -> Answer<Vec<Setup>> {
        self.get("/v1/setups").await
    }

    pub async fn setup(&self, name: &SetupName) -> Answer<Setup> {
        self.get(&format!("/v1/setups/{name}")).await
    }

    pub async fn create_setup(&self, setup: &NewSetup) -> Answer<Setup> {
        self.post("/v1/setups", setup).await
    }

    pub async fn delete_setup(&self, name: &SetupName) -> Answer<()> {
        self.remove(&format!("/v1/setups/{name}")).await
    }

    pub async fn simulate_one(&self, name: &SetupName, user: Option<(&str, &str)>) -> Answer<Explanation> {
        let question = user.map_or_else(String::new, |user| format!("?{}", user_question(user)));
        self.get(&format!("/v1/setups/{name}/simulation{question}")).await
    }

    pub async fn simulate(&self, name: &SetupName, request: &SimulationRequest) -> Answer<Simulation> {
        self.post(&format!("/v1/setups/{name}/simulation"), request).await
    }

    pub async fn evaluate_cost(
        &self,
        name: &CostFunctionName,
        host: &HostName,
        setup: &SetupName,
        user: Option<(&str, &str)>,
    ) -> Answer<CostEvaluation> {
        let user = user.map_or_else(String::new, |user| format!("&{}", user_question(user)));
        self.get(&format!("/v1/cost-functions/{name}/evaluation?host={host}&setup={setup}{user}")).await
    }

    pub async fn compare(&self, vm: &VmSelector, host: &HostName) -> Answer<Comparison> {
        self.get(&format!("/v1/vms/{vm}/comparison?host={host}")).await
    }

    pub async fn configurations(&self) -> Answer<Vec<Configuration>> {
        self.get("/v1/configurations").await
    }

    pub async fn configuration(&self, name: &ConfigurationName) -> Answer<Configuration> {
        self.get(&format!("/v1/configurations/{name}")).await
    }

    pub async fn create_configuration(&self, configuration: &NewConfiguration) -> Answer<Configuration> {
        self.post("/v1/configurations", configuration).await
    }

    pub async fn delete_configuration(&self, name: &ConfigurationName) -> Answer<()> {
        self.remove(&format!("/v1/configurations/{name}")).await
    }

    pub async fn drives(&self) -> Answer<Vec<Drive>> {
        self.get("/v1/drives").await
    }

    pub async fn drive(&self, name: &DriveName) -> Answer<Drive> {
        self.get(&format!("/v1/drives/{name}")).await
    }

    pub async fn create_drive(&self, drive: &NewDrive) -> Answer<Drive> {
        self.post("/v1/drives", drive).await
    }

    pub async fn delete_drive(&self, name: &DriveName) -> Answer<()> {
        self.remove(&format!("/v1/drives/{name}")).await
    }

    pub async fn vms(&self) -> Answer<Vec<Vm>> {
        self.get("/v1/vms").await
    }

    pub async fn past_vms(&self) -> Answer<Vec<Vm>> {
        self.get("/v1/past-vms").await
    }

    pub async fn vm(&self, vm: &VmSelector) -> Answer<VmDetail> {
        self.get(&format!("/v1/vms/{vm}")).await
    }

    pub async fn start_vm(&self, configuration: &ConfigurationName) -> Answer<VmDetail> {
        self.post("/v1/vms", &StartRequest { configuration: configuration.clone() }).await
    }

    pub async fn start_vms(&self, configurations: &[ConfigurationName]) -> Answer<Vec<StartOutcome>> {
        self.post("/v1/starts", &StartsRequest { configurations: configurations.to_vec() }).await
    }

    pub async fn shutdown_vm(&self, vm: &VmSelector, request: &ShutdownRequest) -> Answer<Vm> {
        self.post(&format!("/v1/vms/{vm}/shutdown"), request).await
    }

    pub async fn destroy_vm(&self, vm: &VmSelector) -> Answer<Vm> {
        self.post(&format!("/v1/vms/{vm}/destroy"), &serde_json::json!({})).await
    }

    pub async fn restart_elsewhere(&self, vm: &VmSelector) -> Answer<Vm> {
        self.post(&format!("/v1/vms/{vm}/restart-elsewhere"), &serde_json::json!({})).await
    }

    pub async fn unmanaged_domains(&self) -> Answer<Vec<UnmanagedDomain>> {
        self.get("/v1/unmanaged-domains").await
    }

    pub async fn adopt_vm(&self, host: &HostName, request: &AdoptionRequest) -> Answer<VmDetail> {
        self.post(&format!("/v1/hosts/{host}/adoptions"), request).await
    }

    pub async fn release_vm(&self, vm: &VmSelector) -> Answer<Vm> {
        self.post(&format!("/v1/vms/{vm}/release"), &serde_json::json!({})).await
    }

    /// Waits until the VM's document is newer than `version`, or `at_most` is over; then returns it as it is.
    pub async fn vm_changed(&self, vm: VmId, version: u64, at_most: Duration) -> Answer<Vm> {
        self.get(&format!("/v1/vms/{vm}/changes?after={version}&wait-ms={}", at_most.as_millis())).await
    }

    pub async fn vm_log(&self, vm: &VmSelector) -> Answer<VmLog> {
        self.get(&format!("/v1/vms/{vm}/log")).await
    }

    /// What the journal of a host that a VM was on says of it; of the present or last one where none is named.
    pub async fn vm_journal(
        &self,
        vm: &VmSelector,
        on: Option<&HostName>,
        from: &JournalFrom,
        count: u32,
    ) -> Answer<JournalPage> {
        let on = on.map(|host| format!("&host={host}")).unwrap_or_default();
        self.get(&format!("/v1/vms/{vm}/journal?count={count}{on}{}", from.question())).await
    }

    pub async fn host_journal(&self, host: &HostName, from: &JournalFrom, count: u32) -> Answer<JournalPage> {
        self.get(&format!("/v1/hosts/{host}/journal?count={count}{}", from.question())).await
    }
}

/// From where on lines of a journal are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalFrom {
    /// The latest ones.
    Latest,
    /// The first ones from a moment on.
    Since(Timestamp),
    /// The first ones behind those of an earlier answer, by its cursor.
    Behind(String),
}

impl JournalFrom {
    fn question(&self) -> String {
        match self {
            Self::Latest => String::new(),
            Self::Since(at) => format!("&since-ms={}", at.0),
            Self::Behind(cursor) => format!("&cursor={}", percent_encoded(cursor)),
        }
    }
}

fn user_question((owner, team): (&str, &str)) -> String {
    format!("owner={}&team={}", percent_encoded(owner), percent_encoded(team))
}

/// Free text as it can stand in a query.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_text_cannot_leave_its_place_in_a_query() {
        assert_eq!(percent_encoded("a&team=b c/ä"), "a%26team%3Db%20c%2F%C3%A4");
    }
}
