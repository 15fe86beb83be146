//! Logging in: start-up, and whatever proof the server wants.
//!
//! Part of INV-MUTE: a password is sent as SCRAM or MD5 proof; as it is only inside of TLS.

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;

use super::{PgLogin, PgSession, refusal};
use crate::postgres::fields::{GarbledMessage, MessageFields};
use crate::postgres::trouble::PgError;
use crate::secret::SecretText;

/// What kind of session it is.
#[derive(Clone, Copy)]
pub(super) struct SessionManner {
    pub(super) replication: bool,
    pub(super) encrypted: bool,
}

/// Logs in; afterwards the server waits for a statement.
pub(super) async fn log_in(
    session: &mut PgSession,
    login: &PgLogin,
    manner: SessionManner,
) -> Result<(), PgError> {
    let mut parameters = vec![
        ("user", login.address.user.as_str()),
        ("database", login.address.database.as_str()),
        ("application_name", login.application.as_str()),
    ];
    if manner.replication {
        parameters.push(("replication", "database"));
    }
    parameters.extend(login.settings);
    let mut out = BytesMut::new();
    frontend::startup_message(parameters, &mut out)?;
    session.send(&out).await?;
    prove(session, login, manner).await?;
    loop {
        let frame = session.frame().await?;
        match frame.tag {
            b'K' => {}
            b'Z' => return Ok(()),
            _ => return Err(refusal(frame)),
        }
    }
}

async fn prove(
    session: &mut PgSession,
    login: &PgLogin,
    manner: SessionManner,
) -> Result<(), PgError> {
    let (kind, fields) = asked(session).await?;
    let mut out = BytesMut::new();
    match kind {
        0 => return Ok(()),
        3 if manner.encrypted => {
            frontend::password_message(password(login)?.reveal().as_bytes(), &mut out)?;
        }
        3 => {
            return Err(PgError::Setup {
                reason:
                    "the server wants the password as it is, on a connection that is not encrypted"
                        .to_owned(),
                advice: "have pg_hba.conf say scram-sha-256, or sslmode=verify-full in url"
                    .to_owned(),
            });
        }
        5 => {
            let salt = fields.rest();
            let salt =
                <[u8; 4]>::try_from(&salt[..]).map_err(|_| GarbledMessage("it has no salt"))?;
            let user = login.address.user.as_bytes();
            let proof = md5_hash(user, password(login)?.reveal().as_bytes(), salt);
            frontend::password_message(proof.as_bytes(), &mut out)?;
        }
        10 => return scram(session, login, fields).await,
        _ => {
            return Err(PgError::Setup {
                reason: "the server wants a proof that is not known here".to_owned(),
                advice: "have pg_hba.conf say scram-sha-256 for this role".to_owned(),
            });
        }
    }
    session.send(&out).await?;
    accepted(session).await
}

async fn scram(
    session: &mut PgSession,
    login: &PgLogin,
    mut mechanisms: MessageFields,
) -> Result<(), PgError> {
    let mut known = false;
    while mechanisms.left() > 1 {
        known |= mechanisms.text()? == SCRAM_SHA_256;
    }
    if !known {
        return Err(GarbledMessage("SCRAM-SHA-256 is not offered").into());
    }
    let password = password(login)?;
    let mut scram = ScramSha256::new(password.reveal().as_bytes(), ChannelBinding::unsupported());
    let mut out = BytesMut::new();
    frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut out)?;
    session.send(&out).await?;
    let (11, challenge) = asked(session).await? else {
        return Err(GarbledMessage("it does not go on with SCRAM").into());
    };
    let impostor = |_| PgError::Setup {
        reason: "the server does not prove that it knows the password".to_owned(),
        advice: "look at url: something else may answer there".to_owned(),
    };
    scram.update(&challenge.rest()).map_err(impostor)?;
    out.clear();
    frontend::sasl_response(scram.message(), &mut out)?;
    session.send(&out).await?;
    let (12, proof) = asked(session).await? else {
        return Err(GarbledMessage("it does not go on with SCRAM").into());
    };
    scram.finish(&proof.rest()).map_err(impostor)?;
    accepted(session).await
}

async fn accepted(session: &mut PgSession) -> Result<(), PgError> {
    match asked(session).await? {
        (0, _) => Ok(()),
        _ => Err(GarbledMessage("it goes on to ask for proof").into()),
    }
}

/// What the server asks for, and what it tells with it.
async fn asked(session: &mut PgSession) -> Result<(u32, MessageFields), PgError> {
    let frame = session.frame().await?;
    if frame.tag != b'R' {
        return Err(refusal(frame));
    }
    let mut fields = frame.fields();
    Ok((fields.u32()?, fields))
}

fn password(login: &PgLogin) -> Result<SecretText, PgError> {
    let wanted = |reason: String| PgError::Setup {
        reason,
        advice: "say password = { env = \"NAME\" } or { file = \"PATH\" }".to_owned(),
    };
    let Some(source) = &login.password else {
        return Err(wanted("the server wants a password, and the file names none".to_owned()));
    };
    source.read().map_err(|error| wanted(error.to_string()))
}
