"use strict";
// A video, a question, and the answer as it comes. Every text from files, people or the model goes in by textContent.
(() => {
  const $ = (id) => document.getElementById(id);
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const UNPLAYABLE = "This browser can't play the file; the model can be asked about it all the same.";
  const player = $("player"), form = $("form"), task = $("task"), question = $("question"), options = $("options");
  const seconds = (value) => `${(Math.round(value * 10) / 10).toFixed(1)} s`;
  const size = (bytes) => `${Math.round(bytes / 1e6).toLocaleString("en")} MB`;
  let about = null, video = null, sending = null, asking = null, duration = 0, address = null;

  // -- what the server is ---------------------------------------------------------------------------------------------

  fetch("/api/about").then((answer) => answer.json()).then((values) => {
    about = values;
    $("model").textContent = values.model;
    $("limit").textContent = `up to ${size(values.max_bytes)}; it goes to this server alone`;
    const kept = Math.round(values.keep_minutes * 10) / 10;
    $("kept").textContent = `videos are deleted when you leave, and after ${kept} ${kept === 1 ? "minute" : "minutes"} without a question`;
    $("think").checked = values.think;
  }).catch(() => say("state", "The server doesn't answer; is it still running?", true));

  function say(id, text, bad = false) {
    $(id).textContent = text;
    $(id).classList.toggle("bad", bad);
  }

  // -- the video ------------------------------------------------------------------------------------------------------

  $("choose").addEventListener("click", () => $("file").click());
  $("other").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => { if ($("file").files.length) take($("file").files[0]); $("file").value = ""; });
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });

  function take(file) {
    if (about && file.size > about.max_bytes) {
      say("file-state", `${file.name} has ${size(file.size)}; this server takes up to ${size(about.max_bytes)}`, true);
      return;
    }
    forget();
    address = URL.createObjectURL(file);
    duration = 0;
    player.src = address;
    for (const id of ["player", "other"]) $(id).hidden = false;
    for (const id of ["drop", "timeline", "answer"]) $(id).hidden = true;
    $("spans").replaceChildren();
    send(file);
    question.focus();
  }

  function forget() {
    if (asking) asking.abort();
    if (sending) sending.abort();
    if (video) fetch(`/api/videos/${video}`, { method: "DELETE", keepalive: true }).catch(() => {});
    if (address) URL.revokeObjectURL(address);
    video = sending = address = null;
  }

  function send(file) {
    const request = sending = new XMLHttpRequest();
    request.open("POST", `/api/videos?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => { if (event.lengthComputable) $("sent").value = event.loaded / event.total; };
    const fail = (text) => { $("sent").hidden = true; sending = null; say("file-state", text, true); };
    request.onerror = () => fail("The video couldn't be sent; is the server still running?");
    request.onload = () => {
      if (request !== sending) return;
      let values = {};
      try { values = JSON.parse(request.responseText); } catch { /* told below */ }
      if (request.status !== 200) { fail(values.error ? values.error.message : `The video was refused (${request.status})`); return; }
      video = values.id;
      sending = null;
      $("sent").hidden = true;
      say("file-state", player.error ? UNPLAYABLE : file.name);
      ready();
    };
    $("sent").value = 0;
    $("sent").hidden = false;
    say("file-state", `sending ${file.name}`);
    request.send(file);
    ready();
  }

  player.addEventListener("loadedmetadata", () => measure(player.duration));
  player.addEventListener("timeupdate", follow);
  player.addEventListener("error", () => {
    if (address && video) say("file-state", UNPLAYABLE);
  });
  addEventListener("pagehide", forget);

  // -- the timeline ---------------------------------------------------------------------------------------------------

  function measure(length) {
    if (!(length > 0 && length < Infinity)) return;
    duration = length;
    $("axis").replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((part) => {
      const mark = document.createElement("span");
      mark.textContent = seconds(part * length);
      mark.style.left = `${100 * part}%`;
      return mark;
    }));
    $("timeline").hidden = false;
    follow();
  }

  function follow() { if (duration) $("head").style.left = `${100 * Math.min(1, player.currentTime / duration)}%`; }

  $("track").addEventListener("click", (event) => {
    const box = $("track").getBoundingClientRect();
    if (duration) player.currentTime = duration * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  });

  function play(start) {
    player.currentTime = Math.min(start, Math.max(0, duration - 0.05));
    const playing = player.play();
    if (playing) playing.catch(() => { /* a file that can't be played has said so */ });
  }

  function light(span) {
    const [start, end] = span, name = `Play from ${seconds(start)} to ${seconds(end)}`;
    const left = Math.min(1, start / duration), right = Math.min(1, end / duration);
    const bar = document.createElement("button");
    bar.type = "button";
    bar.title = name;
    bar.setAttribute("aria-label", name);
    bar.style.left = `min(${100 * left}%, calc(100% - 10px))`;
    bar.style.width = `${100 * (right - left)}%`;
    bar.addEventListener("click", () => play(start));
    $("spans").replaceChildren(bar);
    $("go").textContent = name;
    $("go").onclick = () => play(start);
    $("go").hidden = false;
  }

  // -- the question ---------------------------------------------------------------------------------------------------

  const labels = { grounding: "Event", multi_choice: "Question", grounded_qa: "Question", free: "Question" };
  task.addEventListener("change", arrange);
  function arrange() {
    const choosing = task.value === "multi_choice", either = task.value === "grounded_qa";
    $("question-label").textContent = labels[task.value];
    $("options-label").textContent = either ? "Options, one a line (none: a free answer)" : "Options, one a line";
    $("choices").hidden = !choosing && !either;
    $("think-line").hidden = task.value === "free";
  }

  function ready() { $("ask").disabled = !video || asking !== null; }

  form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); }
  });
  $("stop").addEventListener("click", () => { if (asking) asking.abort(); });

  async function ask() {
    if (asking) return;
    if (!video) { say("state", sending ? "The video is still being sent." : "Choose a video first.", true); return; }
    const lines = $("choices").hidden ? [] : options.value.split("\n").map((line) => line.trim()).filter((line) => line);
    const body = { video, task: task.value, question: question.value, options: lines, think: $("think").checked };
    const control = asking = new AbortController();
    begin(body);
    try {
      const answer = await fetch("/api/ask", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: control.signal,
      });
      if (!answer.ok) throw new Error((await answer.json()).error.message);
      if (!(await read(answer.body, body))) throw new Error("The answer broke off; is the server still running?");
    } catch (error) {
      if (control.signal.aborted) say("state", "Stopped.");
      else say("state", error instanceof TypeError ? "The server doesn't answer; is it still running?" : error.message, true);
    } finally {
      asking = null;
      $("stop").hidden = true;
      ready();
    }
  }

  function begin(body) {
    $("answer").hidden = false;
    $("asked").textContent = body.question;
    for (const id of ["reasoning", "said", "raw"]) $(id).textContent = "";
    for (const id of ["go", "reasoning-part"]) $(id).hidden = true;
    $("spans").replaceChildren();
    $("stop").hidden = false;
    say("state", "Reading the video …");
    ready();
  }

  // Lines of `data: {...}`, with an empty one after each; true when the last one came.
  async function read(stream, body) {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", ended = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return ended;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) ended = hear(JSON.parse(part.slice("data: ".length)), body) || ended;
    }
  }

  function hear(event, body) {
    if (event.kind === "waiting") say("state", `Waiting; ${event.ahead} before this one …`);
    else if (event.kind === "seen") {
      if (!duration) measure(event.duration);
      say("state", `Answering; the model sees ${event.frames} frames of ${seconds(event.duration)} …`);
    } else if (event.kind === "piece") {
      $("raw").textContent += event.text;
      unfold($("raw").textContent, body);
    } else if (event.kind === "failed") {
      say("state", event.message, true);
      return true;
    } else if (event.kind === "done") {
      finish(event, body);
      return true;
    }
    return false;
  }

  // What has come so far: reasoning and answer by their tags, as far as they are there.
  function unfold(text, body) {
    if (body.task === "free") {
      // Some models begin with reasoning by themselves.
      const begins = text.trimStart().startsWith("<think>"), [before, ...after] = begins ? text.split("</think>") : ["", text];
      $("reasoning-part").hidden = !begins;
      $("reasoning").textContent = before.replace("<think>", "").trim();
      $("said").textContent = after.join("</think>").trim();
      return;
    }
    const marks = about.marks[body.task][Number(body.think)];
    const inside = (place) => {
      if (!marks[place]) return "";
      const [start, end] = marks[place], from = start ? text.lastIndexOf(start) : 0;
      if (from < 0) return "";
      const rest = text.slice(from + start.length);
      // A mark comes in pieces: its first characters end the part.
      return (end ? rest.split(end.slice(0, 2))[0] : rest).trim();
    };
    const reasoning = inside("reasoning");
    $("reasoning-part").hidden = !reasoning;
    $("reasoning").textContent = reasoning;
    $("said").textContent = inside(body.task === "grounding" ? "span" : "answer");
  }

  function finish(event, body) {
    $("raw").textContent = event.text;
    unfold(event.text, body);
    if (event.reasoning !== null) $("reasoning").textContent = event.reasoning;
    if (event.option !== null) $("said").textContent = `${LETTERS[event.option]}. ${body.options[event.option]}`;
    else if (event.answer !== null) $("said").textContent = event.answer;
    else $("said").textContent = body.task === "free" ? "No answer after the reasoning." : "No answer in the form that was asked for.";
    if (!duration) measure(event.duration);
    if (event.span) light(event.span);
    say("state", event.finished ? "Done." : "Done; cut off at the token limit.");
  }

  arrange();
  ready();
})();
