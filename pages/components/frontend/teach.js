// The pictures of one class, with a camera that records while its button is held. In live mode the camera sends a frame
// after each prediction. Frames are squares of 224 pixels.
const SIDE = 224, EVERY = 100, MOST = 100; // pixels, milliseconds, frames of a burst

function frame(video) {
    const side = Math.min(video.videoWidth, video.videoHeight);
    const canvas = make("canvas", { width: SIDE, height: SIDE });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(video, (video.videoWidth - side) / 2, (video.videoHeight - side) / 2, side, side, 0, 0, SIDE, SIDE);
    return canvas.toDataURL("image/jpeg", 0.92);
}

function build(parent) {
    const video = make("video", { muted: true, playsInline: true });
    const hold = make("button", { className: "hold", textContent: "Hold to record" });
    const toggle = make("button", { className: "toggle" });
    const flip = make("button", { className: "flip", textContent: "Front or rear" });
    const note = make("p", { role: "status" });
    const view = make("div", { className: "view", hidden: true }, video, make("div", { className: "row" }, hold, flip));
    const box = make("div", { className: "teach camera" }, make("ul", {}), make("div", { className: "row" }, toggle), view, note);
    parent.append(box);
    return Object.assign(box, { video, hold, toggle, flip, note, view, list: box.firstChild, facing: "user" });
}

async function camera(box, on) {
    if (on) await openCamera(box, 640);
    else closeCamera(box);
    box.view.hidden = !box.stream;
    box.toggle.textContent = box.stream ? "Stop camera" : "Camera";
}

function record(box, send) {
    if (box.timer || !box.stream) return;
    const frames = [];
    const take = () => {
        const next = frame(box.video);
        if (frames.length < MOST && next !== frames.at(-1)) frames.push(next); // a slow camera shows one for longer
        box.note.textContent = `${frames.length} frames${frames.length < MOST ? "" : ", the most of one burst"}`;
    };
    take();
    box.timer = setInterval(take, EVERY);
    box.release = () => {
        clearInterval(box.timer);
        box.timer = box.release = undefined;
        send(frames);
    };
}

function picture({ key, url }, number, name, remove) {
    const image = make("img", { src: url, alt: `Picture ${number + 1} of ${name}` });
    const button = make("button", { textContent: "×", ariaLabel: `Remove picture ${number + 1} of ${name}` });
    button.onclick = () => remove(key);
    return make("li", {}, image, button);
}

export default function ({ data, parentElement, setTriggerValue }) {
    const box = parentElement.querySelector(".teach") ?? build(parentElement);
    const { hold, toggle, flip, list } = box;
    box.classList.toggle("live", data.live);
    const shown = JSON.stringify(data.pictures);
    if (box.shown !== shown) {
        if (box.shown && box.name !== data.name) camera(box, false); // another class took the place of a deleted one
        box.shown = shown;
        const remove = (key) => setTriggerValue("remove", key);
        list.replaceChildren(...data.pictures.map((one, number) => picture(one, number, data.name, remove)));
        if (data.more) list.append(make("li", { className: "more", textContent: `+${data.more}` }));
        if (!box.timer) box.note.textContent = "";
    }
    box.name = data.name;
    if (!box.toggle.textContent) box.toggle.textContent = "Camera";
    toggle.onclick = () => camera(box, !box.stream).then(ask);
    flip.onclick = () => {
        turn(box);
        camera(box, true).then(ask);
    };
    const start = (event) => {
        event.preventDefault();
        record(box, (frames) => setTriggerValue("frames", frames));
    };
    const isPress = (event) => event.key === " " || event.key === "Enter";
    hold.onpointerdown = (event) => {
        hold.setPointerCapture(event.pointerId);
        start(event);
    };
    hold.onlostpointercapture = () => box.release?.();
    hold.onkeydown = (event) => isPress(event) && start(event);
    hold.onkeyup = (event) => isPress(event) && box.release?.();
    hold.onblur = () => box.release?.();
    hold.oncontextmenu = (event) => event.preventDefault(); // no menu after a long press on a phone
    const ask = () => {
        clearTimeout(box.later);
        if (data.live && box.stream) box.later = setTimeout(() => box.stream && setTriggerValue("frames", [frame(box.video)]), EVERY);
    };
    if (box.answered !== data.answered) {
        box.answered = data.answered;
        ask();
    }
    return () => setTimeout(() => {
        if (box.isConnected) return; // redrawn, not removed
        clearTimeout(box.later);
        clearInterval(box.timer);
        closeCamera(box);
    });
}
