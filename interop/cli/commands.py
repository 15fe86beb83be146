"""Every command of the classic command-line client, with its options, and the errors they can show."""

from checks import equal


# What the tool cannot do with any server is not asked of it: `segment delete` ends with a panic before it
# connects, so does `pat create` over WebSocket.
def parts(tool):
    skipped = ["pat"] if tool.transport == "ws" else []
    return {name: part for name, part in PARTS.items() if name not in skipped}


async def run(tool, checks):
    for name, part in parts(tool).items():
        async with checks.step(name):
            await part(tool)


async def system(tool):
    await tool.shows("ping", "-c", "2", has=["time"])
    for form in ("table", "list", "json", "toml"):
        await tool.ok("stats", "-o", form)
    if tool.transport != "http":
        await tool.shows("me", has=["Client ID"])
    for form in ("table", "list"):
        await tool.ok("client", "list", "-l", form)
        await tool.ok("cluster", "metadata", "-l", form)
    await tool.ok("client", "get", "4294967295")
    await tool.fails("stats", password="not the password")


async def snapshots(tool):
    for compression in ("stored", "deflated", "bzip2", "zstd", "lzma", "xz"):
        out = tool.home / f"snapshot-{compression}"
        out.mkdir()
        await tool.ok("snapshot", "-c", compression, "-s", "test", "-o", str(out))
        archives = list(out.iterdir())
        equal("archives", len(archives), 1)
        equal("a ZIP archive", archives[0].read_bytes()[:4], b"PK\x03\x04")


async def streams(tool):
    await tool.ok("stream", "create", "shop")
    await tool.ok("stream", "create", "draft")
    await tool.ok("stream", "update", "draft", "final")
    await tool.shows("stream", "get", "final", has=["final"])
    await tool.shows("stream", "get", "0", has=["shop"])
    for form in ("table", "list"):
        await tool.shows("stream", "list", "-l", form, has=["shop", "final"])
    await tool.ok("stream", "purge", "final")
    await tool.ok("stream", "delete", "final")
    await tool.fails("stream", "create", "shop")
    await tool.fails("stream", "delete", "missing")


async def topics(tool):
    await tool.ok("topic", "create", "shop", "orders", "2", "none")
    await tool.ok(
        "topic", "create", "-m", "10GB", "-r", "2", "shop", "draft", "1", "gzip", "1day", "2hours"
    )
    await tool.shows("topic", "get", "shop", "draft", has=["draft", "gzip"])
    await tool.ok("topic", "update", "-m", "unlimited", "shop", "draft", "final", "none", "unlimited")
    for form in ("table", "list"):
        await tool.shows("topic", "list", "-l", form, "shop", has=["orders", "final"])
    await tool.ok("partition", "create", "shop", "final", "3")
    await tool.shows("topic", "get", "shop", "final", has=["4"])
    await tool.ok("partition", "delete", "shop", "final", "2")
    await tool.ok("topic", "purge", "shop", "final")
    await tool.ok("topic", "delete", "shop", "final")
    await tool.fails("topic", "create", "shop", "orders", "1", "none")
    await tool.fails("topic", "create", "missing", "orders", "1", "none")
    await tool.fails("topic", "create", "-m", "1MB", "shop", "small", "1", "none")
    await tool.fails("partition", "delete", "shop", "orders", "9")


async def messages(tool):
    headers = "source:string:web,count:uint32:7"
    await tool.ok("message", "send", "-p", "0", "shop", "orders", "one", "two words")
    await tool.ok("message", "send", "-p", "0", "-H", headers, "shop", "orders", "three")
    await tool.ok("message", "send", "-m", "anna", "shop", "orders", "keyed")
    await tool.ok("message", "send", "-p", "0", "shop", "orders", stdin="four\nfive\n")
    await tool.shows(
        "message", "poll", "--first", "-m", "10", "-s", "shop", "orders", "0",
        has=["one", "two words", "three", "four", "five", "source", "web"],
    )
    await tool.shows("message", "poll", "--last", "-m", "1", "shop", "orders", "0", has=["five"])
    await tool.shows("message", "poll", "-o", "1", "shop", "orders", "0", has=["two words"])
    next_one = ("message", "poll", "--next", "-a", "-c", "billing", "shop", "orders", "0")
    await tool.shows(*next_one, has=["one"])
    await tool.shows(*next_one, has=["two words"])
    out = tool.home / "messages.bin"
    await tool.ok("message", "poll", "--first", "-m", "3", "--output-file", str(out), "shop", "orders", "0")
    if tool.transport != "http":  # the classic client sends no ids above 64 bits there
        await tool.ok("message", "send", "-p", "1", "--input-file", str(out), "shop", "orders")
        poll = ("message", "poll", "--first", "-m", "9", "shop", "orders", "1")
        await tool.shows(*poll, has=["three"])
    await tool.ok("message", "flush", "shop", "orders", "0")
    await tool.ok("message", "flush", "-f", "shop", "orders", "0")
    await tool.fails("message", "send", "-p", "9", "shop", "orders", "x")
    await tool.fails("message", "poll", "--first", "shop", "missing", "0")


async def offsets(tool):
    await tool.ok("consumer-offset", "set", "billing", "shop", "orders", "0", "3")
    await tool.shows("consumer-offset", "get", "billing", "shop", "orders", "0", has=["3"])
    await tool.fails("consumer-offset", "set", "billing", "shop", "orders", "0", "99999")


async def groups(tool):
    await tool.ok("consumer-group", "create", "shop", "orders", "readers")
    await tool.shows("consumer-group", "get", "shop", "orders", "readers", has=["readers"])
    for form in ("table", "list"):
        await tool.shows("consumer-group", "list", "-l", form, "shop", "orders", has=["readers"])
    await tool.fails("consumer-group", "create", "shop", "orders", "readers")
    await tool.ok("consumer-group", "delete", "shop", "orders", "readers")
    await tool.fails("consumer-group", "delete", "shop", "orders", "readers")


async def users(tool):
    await tool.ok("user", "create", "anna", "secret")
    await tool.ok("user", "create", "-u", "inactive", "-g", "p_msg,s_msg", "-s", "0:r_str#0:p_msg", "ben", "secret")
    await tool.shows("user", "get", "ben", has=["ben", "inactive"])
    for form in ("table", "list"):
        await tool.shows("user", "list", "-l", form, has=["anna", "ben"])
    await tool.fails("stream", "list", user="anna", password="secret")
    await tool.ok("user", "permissions", "-g", "r_str", "anna")
    await tool.shows("stream", "list", user="anna", password="secret", has=["shop"])
    await tool.ok("user", "password", "anna", "secret", "secret2")
    await tool.fails("stream", "list", user="anna", password="secret")
    await tool.ok("user", "name", "anna", "hanna")
    await tool.ok("user", "status", "hanna", "inactive")
    await tool.fails("stream", "list", user="hanna", password="secret2")
    await tool.fails("user", "create", "ben", "secret")
    await tool.fails("user", "create", "ab", "secret")
    await tool.ok("user", "delete", "hanna")
    await tool.ok("user", "delete", "ben")
    await tool.fails("user", "delete", "ben")
    await tool.fails("user", "delete", "0")


async def tokens(tool):
    printed = await tool.ok("pat", "create", "robot", "1day")
    token = max(printed.split(), key=len)
    equal("characters of the token", len(token), 68)
    for form in ("table", "list"):
        await tool.shows("pat", "list", "-l", form, has=["robot"])
    code, printed = await tool.run_with_token(token, "stream", "list")
    equal("exit code with the token", code, 0)
    await tool.fails("pat", "create", "robot")
    await tool.ok("pat", "delete", "robot")
    await tool.fails("pat", "delete", "robot")
    code, _ = await tool.run_with_token(token, "stream", "list")
    equal("refused once deleted", code != 0, True)


async def contexts(tool):
    await tool.ok("context", "create", "--transport", "tcp", "other")
    await tool.shows("context", "list", has=["other", "default"])
    await tool.ok("context", "use", "other")
    await tool.ok("context", "use", "default")
    await tool.ok("context", "delete", "other")


PARTS = {
    "ping, stats, me, clients, cluster": system,
    "snapshot": snapshots,
    "stream": streams,
    "topic and partition": topics,
    "message": messages,
    "consumer-offset": offsets,
    "consumer-group": groups,
    "user": users,
    "pat": tokens,
    "context": contexts,
}
