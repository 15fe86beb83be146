//! Users in the metadata: lookup, what commands about them come to, and their bytes.
//!
//! User ids are reused, so a session or an HTTP login that outlives its user must not act as the next
//! one with that id: it is compared by [`UserSerial`], too (INV-META-SERIAL). The serial also changes with
//! the password and with a deactivation, so that what was logged in before is logged in no more.
//!
//! INV-MANAGER: once there is an active user who may manage users, there is one after every change.

use galgo_wire::command::UserStatus;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{StreamId, Timestamp, TopicId, UserId};
use galgo_wire::identifier::{Identifier, IdentifierRef};
use galgo_wire::name::Username;
use galgo_wire::permission::{Action, Permissions, Scope};
use galgo_wire::primitive::{Payload, Reader, put_str32};

use super::prepare::lowest_free;
use super::record::{Part, Record};
use super::{ApplyError, Consequence, State, UserMetadata, missing};

/// Most users there may be.
pub const USERS_MAX: usize = 10_000;

const _: () =
    assert!(USERS_MAX < UserId::NONE.get() as usize, "no user gets the number that means nobody");

/// Which of the users that ever were, and which time of it between two ends of its logins; a user id is
/// reused, a serial is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserSerial(u64);

/// Tells an account from those that had its id before; unlike the serial it stays the same when its logins
/// end. It is on what an account leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserMark(u64);

const _: () = assert!(
    size_of::<UserMark>() == 2 * size_of::<UserId>(),
    "a mark is an id, and as much of the time it was given at"
);

impl UserMark {
    /// Wraps the number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The id of the user, if it is there still.
    #[must_use]
    pub(crate) fn id(self) -> UserId {
        // The upper half: see [`UserMetadata::mark`].
        UserId::new((self.0 >> 32) as u32)
    }
}

impl UserMetadata {
    /// The mark of this user, whose id is `id`: the id, and when it was given, as far as 32 bits tell.
    #[must_use]
    pub fn mark(&self, id: UserId) -> UserMark {
        UserMark((u64::from(id.get()) << 32) | (self.created_at.get() & u64::from(u32::MAX)))
    }
}

impl UserSerial {
    /// Wraps the number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A user to be made, without what the state decides.
#[derive(Clone, Debug)]
pub(crate) struct NewUser {
    pub(crate) name: Username,
    pub(crate) password_hash: String,
    pub(crate) status: UserStatus,
    pub(crate) permissions: Option<Permissions>,
    pub(crate) now: Timestamp,
}

impl State {
    /// The user of this name. Names are looked up as text, also when they are all digits.
    #[must_use]
    pub fn user_named(&self, name: &str) -> Option<(UserId, &UserMetadata)> {
        let id = *self.user_names.get(name)?;
        self.users.get(&id).map(|user| (id, user))
    }

    /// The user that `identifier` names.
    #[must_use]
    pub fn user(&self, identifier: IdentifierRef<'_>) -> Option<(UserId, &UserMetadata)> {
        match identifier {
            IdentifierRef::Numeric(id) => {
                let id = UserId::new(id);
                self.users.get(&id).map(|user| (id, user))
            }
            IdentifierRef::Named(name) => self.user_named(name),
        }
    }

    /// # Errors
    /// 20.
    pub(crate) fn existing_user(
        &self,
        user: &Identifier,
    ) -> Result<(UserId, &UserMetadata), ErrorCode> {
        self.user(user.borrowed()).ok_or(ErrorCode::ResourceNotFound)
    }

    /// # Errors
    /// 46 when the name is taken, 55 when there are too many users.
    pub(crate) fn check_new_user(&self, name: &Username) -> Result<(), ErrorCode> {
        if self.user_names.contains_key(name) {
            return Err(ErrorCode::UserAlreadyExists);
        }
        if self.users.len() >= USERS_MAX {
            return Err(ErrorCode::UsersLimitReached);
        }
        Ok(())
    }

    /// # Errors
    /// 46 when the name is taken, 55 when there are too many users.
    pub(crate) fn prepare_create_user(&self, new: NewUser) -> Result<(UserId, Record), ErrorCode> {
        self.check_new_user(&new.name)?;
        // Ids are what classic clients list and name, so they stay small; the serial is what tells users apart.
        let id = UserId::new(lowest_free(&self.users, UserId::get));
        assert!(!self.users.contains_key(&id), "an id that is given is nobody's");
        let user = UserMetadata {
            serial: UserSerial::new(self.next_user_serial),
            name: new.name,
            password_hash: new.password_hash,
            status: new.status,
            created_at: new.now,
            permissions: new.permissions,
        };
        Ok((id, Record::CreateUser { id, user }))
    }

    /// # Errors
    /// 20 for an unknown user, 46 when another one has the name, 49 when nobody active could manage users
    /// any more.
    pub(crate) fn prepare_update_user(
        &self,
        user: &Identifier,
        name: Option<&Username>,
        status: Option<UserStatus>,
    ) -> Result<Record, ErrorCode> {
        let (id, stored) = self.existing_user(user)?;
        let name = name.unwrap_or(&stored.name);
        if self.user_names.get(name).is_some_and(|holder| *holder != id) {
            return Err(ErrorCode::UserAlreadyExists);
        }
        let status = status.unwrap_or(stored.status);
        // Who is inactive has no login that could end, and the record that is older than serials says all.
        if status == UserStatus::Active || stored.status == UserStatus::Inactive {
            return Ok(Record::UpdateUser { id, name: name.clone(), status });
        }
        if self.is_last_manager(id) {
            return Err(ErrorCode::CannotChangePermissions);
        }
        let serial = UserSerial::new(self.next_user_serial);
        Ok(Record::DeactivateUser { id, name: name.clone(), serial })
    }

    /// The record of a new password for a user that exists, and the serial of the user from then on;
    /// `ends_tokens` ends its personal access tokens with its logins.
    pub(crate) fn prepare_password(
        &self,
        id: UserId,
        hash: String,
        ends_tokens: bool,
    ) -> (UserSerial, Record) {
        let serial = UserSerial::new(self.next_user_serial);
        (serial, Record::ReplacePassword { id, hash, serial, ends_tokens })
    }

    /// Whether the user is the only active one who may manage users.
    fn is_last_manager(&self, id: UserId) -> bool {
        // INV-MANAGER: two are enough to know that none is the last.
        let mut managers = self.users.iter().filter(|(_, user)| user.manages_users());
        managers.next().is_some_and(|(only, _)| *only == id) && managers.next().is_none()
    }

    /// # Errors
    /// 20 for an unknown user, 49 for the root user and when nobody active could manage users any more.
    pub(crate) fn prepare_permissions(
        &self,
        user: &Identifier,
        permissions: Option<&Permissions>,
    ) -> Result<Record, ErrorCode> {
        let (id, _) = self.existing_user(user)?;
        // Whoever lost all other managers gets in as root, whose password can be reset on the machine.
        if id == UserId::ROOT {
            return Err(ErrorCode::CannotChangePermissions);
        }
        // INV-MANAGER: those of the last one are replaced only by such as keep the right.
        let keeps = permissions.is_some_and(|permissions| permissions.global.manage_users);
        if !keeps && self.is_last_manager(id) {
            return Err(ErrorCode::CannotChangePermissions);
        }
        Ok(Record::SetPermissions { id, permissions: permissions.cloned() })
    }

    /// # Errors
    /// 20 for an unknown user, 48 for the root user and for the last active one who may manage users.
    pub(crate) fn prepare_delete_user(&self, user: &Identifier) -> Result<Record, ErrorCode> {
        match self.existing_user(user)?.0 {
            UserId::ROOT => Err(ErrorCode::CannotDeleteUser),
            id if self.is_last_manager(id) => Err(ErrorCode::CannotDeleteUser),
            id => Ok(Record::DeleteUser { id }),
        }
    }

    pub(super) fn create_user(
        &mut self,
        id: UserId,
        user: &UserMetadata,
    ) -> Result<Vec<Consequence>, ApplyError> {
        // A serial that is not new would let an old login act as the new user (INV-META-SERIAL).
        let known = self.users.contains_key(&id) || self.user_names.contains_key(&user.name);
        if known || user.serial.get() < self.next_user_serial {
            return missing("user", id.get());
        }
        self.next_user_serial = user.serial.get().saturating_add(1);
        self.insert_user(id, user.clone());
        Ok(Vec::new())
    }

    pub(super) fn insert_user(&mut self, id: UserId, user: UserMetadata) {
        self.user_names.insert(user.name.clone(), id);
        self.users.insert(id, user);
    }

    pub(super) fn update_user(
        &mut self,
        id: UserId,
        name: &Username,
        status: UserStatus,
    ) -> Result<Vec<Consequence>, ApplyError> {
        // Before the first change: a record that does not fit leaves the state as it was.
        if self.user_names.get(name).is_some_and(|holder| *holder != id) {
            return missing("user", id.get());
        }
        let Some(user) = self.users.get_mut(&id) else { return missing("user", id.get()) };
        // The old name first: a user that keeps its name must not lose it.
        self.user_names.remove(&user.name);
        self.user_names.insert(name.clone(), id);
        user.name = name.clone();
        user.status = status;
        Ok(Vec::new())
    }

    pub(super) fn set_permissions(
        &mut self,
        id: UserId,
        permissions: &Option<Permissions>,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let Some(user) = self.users.get_mut(&id) else { return missing("user", id.get()) };
        user.permissions.clone_from(permissions);
        Ok(Vec::new())
    }

    pub(super) fn set_password(
        &mut self,
        id: UserId,
        hash: &str,
    ) -> Result<Vec<Consequence>, ApplyError> {
        let Some(user) = self.users.get_mut(&id) else { return missing("user", id.get()) };
        // Nothing of the serial here: records of older versions let logins go on, and are applied
        // as they were meant.
        hash.clone_into(&mut user.password_hash);
        Ok(Vec::new())
    }

    pub(super) fn replace_password(
        &mut self,
        id: UserId,
        hash: &str,
        serial: UserSerial,
        ends_tokens: bool,
    ) -> Result<Vec<Consequence>, ApplyError> {
        // First what may refuse: a record that does not fit leaves the state as it was.
        self.end_logins(id, serial)?;
        self.set_password(id, hash)?;
        if ends_tokens {
            self.remove_tokens_of(id);
        }
        Ok(vec![Consequence::LoginsEnded(id)])
    }

    pub(super) fn deactivate_user(
        &mut self,
        id: UserId,
        name: &Username,
        serial: UserSerial,
    ) -> Result<Vec<Consequence>, ApplyError> {
        // Asked for here as well, before the logins end: the update below would refuse too late.
        if self.user_names.get(name).is_some_and(|holder| *holder != id) {
            return missing("user", id.get());
        }
        self.end_logins(id, serial)?;
        self.update_user(id, name, UserStatus::Inactive)?;
        Ok(vec![Consequence::LoginsEnded(id)])
    }

    /// Gives the user another serial, which is on no login yet.
    fn end_logins(&mut self, id: UserId, serial: UserSerial) -> Result<(), ApplyError> {
        if serial.get() < self.next_user_serial {
            return missing("user", id.get());
        }
        let Some(user) = self.users.get_mut(&id) else { return missing("user", id.get()) };
        // What logged in before carries the serial it had. With it go the records of ended HTTP logins: their tokens carry
        // it, too, and are void with it.
        let before = std::mem::replace(&mut user.serial, serial);
        self.next_user_serial = serial.get().saturating_add(1);
        self.forget_jwts_of(before);
        Ok(())
    }

    pub(super) fn delete_user(&mut self, id: UserId) -> Result<Vec<Consequence>, ApplyError> {
        let Some(user) = self.users.remove(&id) else { return missing("user", id.get()) };
        // All that acts for it goes with it; its id is given again, and whoever has it next is somebody else.
        self.user_names.remove(&user.name);
        self.remove_tokens_of(id);
        self.forget_jwts_of(user.serial);
        Ok(vec![Consequence::UserGone(id)])
    }

    /// Takes from everybody what they may do in a stream, or in one topic of it, that is gone: its id
    /// is reused, and what was allowed there is not allowed in the next one.
    pub(super) fn forget_permissions(&mut self, stream: StreamId, topic: Option<TopicId>) {
        for user in self.users.values_mut() {
            let Some(permissions) = user.permissions.as_mut() else { continue };
            match topic {
                None => {
                    permissions.streams.remove(&stream);
                }
                Some(topic) => {
                    if let Some(held) = permissions.streams.get_mut(&stream) {
                        held.topics.remove(&topic);
                    }
                }
            }
        }
    }
}

impl UserMetadata {
    /// Whether the user may do `action` at `place`.
    pub(crate) fn may(&self, action: Action, place: Scope) -> bool {
        self.permissions.as_ref().is_some_and(|held| held.allows(action, place))
    }

    /// Whether the user may log in and manage users.
    pub(super) fn manages_users(&self) -> bool {
        // INV-MANAGER: one that is inactive is none, as who cannot log in lets nobody in.
        let held = self.permissions.as_ref();
        self.status == UserStatus::Active && held.is_some_and(|held| held.global.manage_users)
    }
}

impl Payload for UserSerial {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        u64::decode(reader).map(Self)
    }
}

impl Part for UserMetadata {
    fn put(&self, out: &mut Vec<u8>) {
        (self.serial, self.created_at).put(out);
        (self.name.clone(), self.status).put(out);
        put_str32(out, &self.password_hash);
        self.permissions.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let (serial, created_at) = Part::take(from)?;
        let (name, status): (Username, UserStatus) = Part::take(from)?;
        let password_hash = from.str32()?.to_owned();
        let permissions = Part::take(from)?;
        Ok(Self { serial, name, password_hash, status, created_at, permissions })
    }
}

/// A flag, and the permissions if it is set.
impl Part for Option<Permissions> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(permissions) = self {
            permissions.encode(out);
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        if from.bool()? { Permissions::decode(from).map(Some) } else { Ok(None) }
    }
}
