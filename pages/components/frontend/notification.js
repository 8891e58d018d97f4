const HIDDEN_MS = 5000; // a short look at another tab changes nothing
let watched, started = null; // of this session, so that only a start scrolls

function watchTab(report) {
  let timer;
  const look = () => {
    clearTimeout(timer);
    timer = setTimeout(() => report(document.hidden), document.hidden ? HIDDEN_MS : 0);
  };
  document.addEventListener("visibilitychange", look);
  if (document.hidden) look();
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
  };
}

export default ({ data, parentElement, setStateValue }) => {
  const mounted = parentElement.querySelector("button");
  mounted.live = data.live;
  mounted.unwatch ??= watchTab((hidden) => mounted.live && setStateValue("hidden", hidden));
  notify(data, parentElement);
  return () => setTimeout(() => mounted.isConnected || mounted.unwatch()); // also called when a newer message overtakes
};

function notify(data, parentElement) {
  if (data.started !== started) {
    started = data.started;
    const element = parentElement.host ?? parentElement; // a shadow root has no closest()
    element.closest("[data-testid=stMain]")?.scrollTo(0, 0); // on a phone the Start button is far down
  }
  if (data.scroll) {
    const target = `.st-key-${data.scroll}`;
    setTimeout(() => document.querySelector(target)?.scrollIntoView({ block: "start" }), 400); // after it is drawn
  }
  if (!window.Notification) return;
  const button = parentElement.querySelector("button");
  const show = () => (button.hidden = !data.live || Notification.permission !== "default");
  button.onclick = () => Notification.requestPermission().then(show);
  show();
  if (data.live) watched = data.run;
  else if (watched === data.run) {
    watched = undefined;
    if (Notification.permission !== "granted") return;
    try {
      new Notification(data.title, { body: data.body });
    } catch {} // Chrome on Android requires a service worker
  }
}
