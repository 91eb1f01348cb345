//! Owns the C functions of libvirt that the `virt` crate lacks or gets wrong: event and close callbacks, bulk
//! statistics, a domain's state; and of the C library those by which what libvirt's client leaves in memory is given
//! back. It is the only file of the product with `unsafe`.
//!
//! Must not: decide, log, or block in a callback: callbacks run in the event loop's thread and only tell a
//! [`Listener`]. Nothing here panics, as a panic must not unwind into C.
//!
//! Ownership of what is handed to C: each callback gets a leaked `Box<Arc<dyn Listener>>`, which libvirt gives back
//! exactly once through `release_listener`, after the last call of that callback.

use std::ffi::{c_char, c_int, c_void};
use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt::sys;

/// Who is told of events. Called from the event loop's thread: must only note and return.
pub(super) trait Listener: Send + Sync {
    /// Something happened to this domain.
    fn domain_changed(&self, domain: Uuid);
    /// A guest agent's channel opened or closed.
    fn guest_agent_changed(&self, domain: Uuid, connected: bool);
    /// Something happened to a storage pool.
    fn pools_changed(&self);
    /// The connection is broken for good.
    fn closed(&self);
}

type Opaque = Box<Arc<dyn Listener>>;

/// Callbacks registered on a connection; they end when this is dropped.
pub(super) struct Subscription {
    connect: Connect,
    domain_callbacks: Vec<c_int>,
    pool_callbacks: Vec<c_int>,
    close_callback: bool,
}

impl Subscription {
    /// Registers domain events (lifecycle, metadata, reboot, guest agent) and storage pool events.
    pub(super) fn to_events(connect: &Connect, listener: &Arc<dyn Listener>) -> Result<Self, Error> {
        let mut subscription = Self {
            connect: connect.clone(),
            domain_callbacks: Vec::new(),
            pool_callbacks: Vec::new(),
            close_callback: false,
        };
        subscription.add_lifecycle(listener)?;
        subscription.add_metadata(listener)?;
        subscription.add_reboot(listener)?;
        subscription.add_guest_agent(listener)?;
        subscription.add_pools(listener)?;
        Ok(subscription)
    }

    fn add_lifecycle(&mut self, listener: &Arc<dyn Listener>) -> Result<(), Error> {
        // SAFETY: libvirt calls the callback of this event id with the signature of `on_lifecycle`, whatever type
        // it is passed as; function pointers all have one size.
        let callback = unsafe {
            std::mem::transmute::<
                unsafe extern "C" fn(
                    sys::virConnectPtr,
                    sys::virDomainPtr,
                    c_int,
                    c_int,
                    *mut c_void,
                ) -> c_int,
                unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void),
            >(on_lifecycle)
        };
        self.add_domain_callback(sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, callback, listener)
    }

    fn add_metadata(&mut self, listener: &Arc<dyn Listener>) -> Result<(), Error> {
        // SAFETY: as in `add_lifecycle`, for the signature of `on_metadata`.
        let callback = unsafe {
            std::mem::transmute::<
                unsafe extern "C" fn(
                    sys::virConnectPtr,
                    sys::virDomainPtr,
                    c_int,
                    *const c_char,
                    *mut c_void,
                ),
                unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void),
            >(on_metadata)
        };
        self.add_domain_callback(sys::VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, callback, listener)
    }

    fn add_reboot(&mut self, listener: &Arc<dyn Listener>) -> Result<(), Error> {
        self.add_domain_callback(sys::VIR_DOMAIN_EVENT_ID_REBOOT, on_domain, listener)
    }

    fn add_guest_agent(&mut self, listener: &Arc<dyn Listener>) -> Result<(), Error> {
        // SAFETY: as in `add_lifecycle`, for the signature of `on_guest_agent`.
        let callback = unsafe {
            std::mem::transmute::<
                unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void),
                unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void),
            >(on_guest_agent)
        };
        self.add_domain_callback(sys::VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, callback, listener)
    }

    fn add_domain_callback(
        &mut self,
        event: sys::virDomainEventID,
        callback: unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void),
        listener: &Arc<dyn Listener>,
    ) -> Result<(), Error> {
        let event = c_int::try_from(event).unwrap_or(c_int::MAX);
        let opaque = lend(listener);
        // SAFETY: the connection is alive as `self.connect` holds a reference, a null domain means all domains, and
        // `opaque` is what `release_listener` and the callbacks expect.
        let id = unsafe {
            sys::virConnectDomainEventRegisterAny(
                self.connect.as_ptr(),
                std::ptr::null_mut(),
                event,
                Some(callback),
                opaque,
                Some(release_listener),
            )
        };
        self.domain_callbacks.push(registered(id, opaque)?);
        Ok(())
    }

    fn add_pools(&mut self, listener: &Arc<dyn Listener>) -> Result<(), Error> {
        let event = c_int::try_from(sys::VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE).unwrap_or(c_int::MAX);
        let opaque = lend(listener);
        // SAFETY: as in `add_lifecycle`, for the signature of `on_pool`.
        let callback = unsafe {
            std::mem::transmute::<
                unsafe extern "C" fn(sys::virConnectPtr, sys::virStoragePoolPtr, c_int, c_int, *mut c_void),
                unsafe extern "C" fn(sys::virConnectPtr, sys::virStoragePoolPtr, *mut c_void),
            >(on_pool)
        };
        // SAFETY: as in `add_domain_callback`; a null pool means all pools.
        let id = unsafe {
            sys::virConnectStoragePoolEventRegisterAny(
                self.connect.as_ptr(),
                std::ptr::null_mut(),
                event,
                Some(callback),
                opaque,
                Some(release_listener),
            )
        };
        self.pool_callbacks.push(registered(id, opaque)?);
        Ok(())
    }

    /// Registers the callback for the connection's end. Only for connections to a daemon: a driver inside this process
    /// says yes and forgets it.
    pub(super) fn add_close(&mut self, listener: &Arc<dyn Listener>) -> Result<(), Error> {
        let opaque = lend(listener);
        // SAFETY: the connection is alive, and `opaque` is what `release_listener` and `on_close` expect.
        let result = unsafe {
            sys::virConnectRegisterCloseCallback(
                self.connect.as_ptr(),
                Some(on_close),
                opaque,
                Some(release_listener),
            )
        };
        registered(result, opaque)?;
        self.close_callback = true;
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for id in self.domain_callbacks.drain(..) {
            // SAFETY: the connection is alive, dead daemon or not, and the id was given by it. The result does not
            // matter: on a broken connection libvirt forgets the callback on our side all the same.
            unsafe { sys::virConnectDomainEventDeregisterAny(self.connect.as_ptr(), id) };
        }
        for id in self.pool_callbacks.drain(..) {
            // SAFETY: as above.
            unsafe { sys::virConnectStoragePoolEventDeregisterAny(self.connect.as_ptr(), id) };
        }
        if self.close_callback {
            // SAFETY: as above; the callback is the one that was registered.
            unsafe { sys::virConnectUnregisterCloseCallback(self.connect.as_ptr(), Some(on_close)) };
        }
    }
}

/// Leaks a reference to the listener into C's hands.
fn lend(listener: &Arc<dyn Listener>) -> *mut c_void {
    let opaque: Opaque = Box::new(Arc::clone(listener));
    Box::into_raw(opaque).cast()
}

/// The id of a registration; a failed one never takes the opaque value, so it is taken back.
fn registered(id: c_int, opaque: *mut c_void) -> Result<c_int, Error> {
    if id >= 0 {
        return Ok(id);
    }
    let error = Error::last_error();
    // SAFETY: `opaque` comes from `lend`, and libvirt did not keep it.
    unsafe { release_listener(opaque) };
    Err(error)
}

/// Given to libvirt as the way to free the opaque value.
unsafe extern "C" fn release_listener(opaque: *mut c_void) {
    // SAFETY: the pointer comes from `lend` and is given back once.
    drop(unsafe { Opaque::from_raw(opaque.cast()) });
}

/// The listener behind an opaque value.
///
/// # Safety
/// `opaque` comes from `lend` and was not released; the reference is not kept beyond the callback.
unsafe fn listener<'callback>(opaque: *mut c_void) -> &'callback dyn Listener {
    // SAFETY: the caller's promise.
    let opaque: &Arc<dyn Listener> = unsafe { &*opaque.cast::<Arc<dyn Listener>>() };
    opaque.as_ref()
}

/// A domain's UUID, asked without a call to the daemon.
///
/// # Safety
/// `domain` is a valid domain.
unsafe fn uuid_of(domain: sys::virDomainPtr) -> Option<Uuid> {
    let mut bytes = [0_u8; 16];
    // SAFETY: the caller's promise, and libvirt writes VIR_UUID_BUFLEN = 16 bytes.
    let result = unsafe { sys::virDomainGetUUID(domain, bytes.as_mut_ptr()) };
    (result == 0).then(|| Uuid::from_bytes(bytes))
}

unsafe extern "C" fn on_domain(_: sys::virConnectPtr, domain: sys::virDomainPtr, opaque: *mut c_void) {
    // SAFETY: libvirt passes a domain that is valid during the callback, and our opaque value.
    unsafe {
        if let Some(uuid) = uuid_of(domain) {
            listener(opaque).domain_changed(uuid);
        }
    }
}

unsafe extern "C" fn on_lifecycle(
    connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: the arguments are passed on as they came.
    unsafe { on_domain(connect, domain, opaque) };
    0
}

/// Whatever kind of metadata changed and in whose namespace: a title is no ledger, but a second look costs little.
unsafe extern "C" fn on_metadata(
    connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _kind: c_int,
    _namespace: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: the arguments are passed on as they came.
    unsafe { on_domain(connect, domain, opaque) };
}

unsafe extern "C" fn on_guest_agent(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    state: c_int,
    _reason: c_int,
    opaque: *mut c_void,
) {
    let open =
        c_int::try_from(sys::VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED).unwrap_or(c_int::MAX);
    // SAFETY: as in `on_domain`.
    unsafe {
        if let Some(uuid) = uuid_of(domain) {
            listener(opaque).guest_agent_changed(uuid, state == open);
        }
    }
}

unsafe extern "C" fn on_pool(
    _: sys::virConnectPtr,
    _pool: sys::virStoragePoolPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt passes our opaque value.
    unsafe { listener(opaque).pools_changed() };
}

unsafe extern "C" fn on_close(_: sys::virConnectPtr, _reason: c_int, opaque: *mut c_void) {
    // SAFETY: libvirt passes our opaque value.
    unsafe { listener(opaque).closed() };
}

/// A domain's state and the reason for it, as libvirt's numbers. (`Domain::state()` takes errors for states.)
pub(super) fn domain_state(domain: &Domain) -> Result<(c_int, c_int), Error> {
    let (mut state, mut reason) = (-1, -1);
    // SAFETY: the domain is alive, and both pointers are to integers that outlive the call.
    let result = unsafe { sys::virDomainGetState(domain.as_ptr(), &raw mut state, &raw mut reason, 0) };
    if result < 0 { Err(Error::last_error()) } else { Ok((state, reason)) }
}

/// The statistics of one domain: every wanted value of it that is a whole number and not negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatisticsRecord {
    pub(super) domain: Uuid,
    pub(super) values: Vec<(String, u64)>,
}

/// The statistics of all domains that `flags` select, in one call. Only values with a wanted name are kept: a domain has
/// some dozens, and copying them all is most of the work.
pub(super) fn statistics(
    connect: &Connect,
    groups: u32,
    flags: u32,
    wanted: fn(&str) -> bool,
) -> Result<Vec<StatisticsRecord>, Error> {
    let mut list: *mut sys::virDomainStatsRecordPtr = std::ptr::null_mut();
    // SAFETY: the connection is alive; libvirt writes the address of a list that is ours to free.
    let count = unsafe { sys::virConnectGetAllDomainStats(connect.as_ptr(), groups, &raw mut list, flags) };
    let Ok(count) = usize::try_from(count) else { return Err(Error::last_error()) };
    if list.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: on success the list has `count` valid records, and a null behind them.
    let records = unsafe { std::slice::from_raw_parts(list, count) };
    // SAFETY: each record is valid until the list is freed.
    let statistics = records.iter().filter_map(|record| unsafe { read_record(*record, wanted) }).collect();
    // SAFETY: the list came from the call above and nothing of it is kept.
    unsafe { sys::virDomainStatsRecordListFree(list) };
    Ok(statistics)
}

/// # Safety
/// `record` is null or a valid record.
unsafe fn read_record(
    record: sys::virDomainStatsRecordPtr,
    wanted: fn(&str) -> bool,
) -> Option<StatisticsRecord> {
    // SAFETY: the caller's promise.
    let record = unsafe { record.as_ref()? };
    // SAFETY: a record's domain is valid as long as the record.
    let domain = unsafe { uuid_of(record.dom)? };
    let count = usize::try_from(record.nparams).unwrap_or(0);
    if record.params.is_null() {
        return Some(StatisticsRecord { domain, values: Vec::new() });
    }
    // SAFETY: a record has `nparams` parameters.
    let parameters = unsafe { std::slice::from_raw_parts(record.params, count) };
    let values = parameters.iter().filter_map(|parameter| read_parameter(parameter, wanted)).collect();
    Some(StatisticsRecord { domain, values })
}

fn read_parameter(parameter: &sys::virTypedParameter, wanted: fn(&str) -> bool) -> Option<(String, u64)> {
    let name = field_name(&parameter.field);
    let name = name.as_str().filter(|name| wanted(name))?;
    let kind = sys::virTypedParameterType::try_from(parameter.type_).ok()?;
    // SAFETY: the type says which member of the union was written.
    let value = unsafe {
        match kind {
            sys::VIR_TYPED_PARAM_INT => u64::try_from(parameter.value.i).ok(),
            sys::VIR_TYPED_PARAM_UINT => Some(u64::from(parameter.value.ui)),
            sys::VIR_TYPED_PARAM_LLONG => u64::try_from(parameter.value.l).ok(),
            sys::VIR_TYPED_PARAM_ULLONG => Some(parameter.value.ul),
            _ => None,
        }
    }?;
    Some((name.to_owned(), value))
}

/// The length of a field for names: libvirt's VIR_TYPED_PARAM_FIELD_LENGTH.
const FIELD_LENGTH: usize = 80;

/// A name in a field of fixed size, which ends at a NUL or at the field's end.
struct FieldName {
    bytes: [u8; FIELD_LENGTH],
    length: usize,
}

impl FieldName {
    /// None when it is not UTF-8, which no name of libvirt's is.
    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

fn field_name(field: &[c_char; FIELD_LENGTH]) -> FieldName {
    let bytes = field.map(|byte| byte.to_ne_bytes()[0]);
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(FIELD_LENGTH);
    FieldName { bytes, length }
}

/// Blocks of memory from this size on are given back to the system as soon as they are free. libvirt's client makes large
/// ones for each answer: with the usual, growing bound an agent of a hundred VMs keeps 15 MiB of them for ever.
const RETURNED_FROM: c_int = 64 << 10;

/// Makes the C library give memory back early, and keep one pool of it for all threads: an agent's threads seldom work at
/// the same time. To be called before there are threads that matter; later it is only less use.
pub(super) fn keep_memory_small() {
    use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};
    for (parameter, value) in
        [(M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, RETURNED_FROM), (M_TRIM_THRESHOLD, 2 * RETURNED_FROM)]
    {
        // SAFETY: it only sets numbers of the allocator, which may be done at any time. What it answers does not matter:
        // without it there is only more memory in use.
        unsafe { mallopt(parameter, value) };
    }
}

/// The smallest page that there is; with larger ones some mappings are not recognised, and stay.
const PAGE: usize = 4096;

/// Gives back to the system what is free between what is used: answers of a hundred domains are thousands of small blocks,
/// and one that stays keeps all below it otherwise.
pub(super) fn give_back_free_memory() {
    // SAFETY: it may be called at any time; it only tells the system which pages hold nothing.
    unsafe { nix::libc::malloc_trim(0) };
}

/// Lets go of the pages of the program and its libraries that are not in use now: libvirt's client brings forty libraries
/// with it, of which next to nothing is needed after the start, least of all the tables by which they were tied together.
/// What is needed again comes back from the system's cache of files. `smaps` is the text of `/proc/self/smaps`. Answers
/// how many bytes were let go of at most.
pub(super) fn let_go_of_program(smaps: &str) -> usize {
    let mut letting_go = LettingGo { unchanged: unchanged(smaps), bytes: 0 };
    // SAFETY: `let_go_of_object` is called before this returns, with what it expects, and never unwinds.
    unsafe { nix::libc::dl_iterate_phdr(Some(let_go_of_object), (&raw mut letting_go).cast()) };
    letting_go.bytes
}

/// What is handed from object to object.
struct LettingGo {
    /// Mappings of files as they were a moment ago. Some may have gone, and their addresses be somebody's memory.
    unchanged: Vec<Range<usize>>,
    bytes: usize,
}

/// Called for the program and each library, of which none is unloaded meanwhile.
unsafe extern "C" fn let_go_of_object(
    object: *mut nix::libc::dl_phdr_info,
    _size: usize,
    letting_go: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid object, and what `let_go_of_program` lent it alone.
    let (object, letting_go) = unsafe { (&*object, &mut *letting_go.cast::<LettingGo>()) };
    if object.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: an object has `dlpi_phnum` headers.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    let LettingGo { unchanged, bytes } = letting_go;
    for range in headers.iter().filter_map(|header| read_only_segment(object.dlpi_addr, header)) {
        for mapping in unchanged.iter().filter(|mapping| is_within(mapping, &range)) {
            let length = mapping.len();
            // SAFETY: the range belongs to an object that stays loaded, is mapped from its file, is never written as it is
            // not writable, and had no changed page. To drop such pages from our view changes nothing that can be seen:
            // whatever is touched is mapped again from the file.
            let result = unsafe {
                nix::libc::madvise(
                    std::ptr::without_provenance_mut(mapping.start),
                    length,
                    nix::libc::MADV_DONTNEED,
                )
            };
            *bytes += if result == 0 { length } else { 0 };
        }
    }
    0
}

/// Where a part of an object lies that is mapped from its file and that nobody may write, to the byte.
fn read_only_segment(base: u64, header: &nix::libc::Elf64_Phdr) -> Option<Range<usize>> {
    if header.p_type != nix::libc::PT_LOAD || header.p_flags & nix::libc::PF_W != 0 {
        return None;
    }
    let start = base.checked_add(header.p_vaddr)?;
    let end = start.checked_add(header.p_memsz)?;
    Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

/// Whether a mapping, which has whole pages, is a segment's or a part of it.
fn is_within(mapping: &Range<usize>, segment: &Range<usize>) -> bool {
    segment.start < mapping.start.saturating_add(PAGE) && mapping.end < segment.end.saturating_add(PAGE)
}

/// Private mappings of files that nobody may write and of which no page was changed.
fn unchanged(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(changed) = line.strip_prefix("Anonymous:") {
            found.extend(current.take().filter(|_| changed.trim() == "0 kB"));
        } else if let Some((range, rest)) = line.split_once(' ')
            && let Some((start, end)) = range.split_once('-')
        {
            let number = |text| usize::from_str_radix(text, 16).ok();
            let is_wanted =
                ["r-xp ", "r--p "].iter().any(|mode| rest.starts_with(mode)) && rest.contains(" /");
            current = number(start).zip(number(end)).filter(|_| is_wanted).map(|(start, end)| start..end);
        }
    }
    found
}

#[cfg(test)]
#[path = "ffi_tests.rs"]
mod tests;
