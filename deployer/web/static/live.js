// What the pages do where JavaScript runs, beside htmx: say whether the page is live, and keep its times true.
// Without this file every page says the same; only older.
(() => {
  "use strict";

  // --- times ---------------------------------------------------------------------------------------
  // The same words as `words.ago` on the server: change both.
  const MINUTE = 60, HOUR = 3600, DAY = 86400;

  const rough = (s) =>
    s < 2 * MINUTE ? `${s} s`
      : s < 2 * HOUR ? `${Math.floor(s / MINUTE)} min`
        : s < 2 * DAY ? `${Math.floor(s / HOUR)} h`
          : `${Math.floor(s / DAY)} days`;

  const ago = (at, now) => {
    const seconds = Math.trunc((now - at) / 1000);
    if (Math.abs(seconds) < 2) return "just now";
    if (Math.abs(seconds) >= 60 * DAY) return new Date(at).toISOString().slice(0, 10);
    return seconds > 0 ? `${rough(seconds)} ago` : `in ${rough(-seconds)}`;
  };

  const tick = () => {
    if (document.hidden) return;
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = ago(Date.parse(time.dateTime), now);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(tick, 1000);

  // --- the stream ----------------------------------------------------------------------------------
  const told = document.getElementById("live");
  const stream = document.querySelector("[hx-sse\\:connect]");
  if (!told || !stream) return;

  // The server sends something every 15 s. A connection that is silent for three times as long is dead, also
  // where nobody told the browser (a laptop that slept, a proxy that went away).
  const SILENT_MS = 45000;
  // A connection that brings nothing is no stream (the sign-in page, say): htmx would come again twice a second.
  const SLOW_MS = 10000;
  const AGAIN_MS = 5000;

  let connection = null, heard = 0, barren = 0;

  const say = (state, words) => {
    if (told.dataset.state === state) return;
    told.dataset.state = state;
    told.textContent = words;
  };
  const hear = () => {
    heard = Date.now();
    barren = 0;
    if (connection) connection.config.reconnectDelay = 500;
    say("live", "Live");
  };
  const lost = () => say("lost", "Reconnecting …");

  stream.addEventListener("htmx:sse:after:connection", (event) => {
    connection = event.detail.connection;
    heard = Date.now();
    barren += 1;
    if (barren > 3) connection.config.reconnectDelay = SLOW_MS;
  });
  stream.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0) lost();
  });
  stream.addEventListener("beat", hear);
  stream.addEventListener("htmx:sse:after:message", hear);
  stream.addEventListener("htmx:sse:error", lost);
  stream.addEventListener("htmx:sse:close", () => { connection = null; });
  stream.addEventListener("htmx:after:swap", tick);

  // The first connection is an ordinary request: where it fails, nobody tries again.
  stream.addEventListener("htmx:finally:request", () => {
    if (connection) return;
    lost();
    setTimeout(() => {
      if (!connection) htmx.ajax("GET", stream.getAttribute("hx-sse:connect"), { source: stream });
    }, AGAIN_MS);
  });

  setInterval(() => {
    if (connection && !document.hidden && Date.now() - heard > SILENT_MS) {
      heard = Date.now();
      lost();
      connection.reader?.cancel();
    }
  }, 5000);
  document.addEventListener("visibilitychange", () => { heard = Date.now(); tick(); });
})();
