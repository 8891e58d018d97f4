// Shared by the cameras of Classify and Teach.
const make = (name, properties, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
};

const stop = (stream) => stream?.getTracks().forEach((track) => track.stop());

const closeCamera = (box) => {
    stop(box.stream);
    box.stream = box.request = undefined;
    box.note.textContent = "";
};

// Shows the camera in box.video, or why it cannot be used in box.note. Returns its stream, null if there is none, or
// undefined if the camera was closed or opened again while the browser asked for it.
async function openCamera(box, width) {
    closeCamera(box);
    const request = box.request = {};
    try {
        const wanted = { facingMode: box.facing, width: { ideal: width } };
        const stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
        if (box.request !== request) return stop(stream);
        box.video.srcObject = box.stream = stream;
        await box.video.play();
    } catch (problem) {
        if (box.request !== request) return undefined;
        closeCamera(box);
        box.note.textContent = navigator.mediaDevices
            ? `The camera cannot be used (${problem.name}). Allow it in the browser, or upload pictures.`
            : "Browsers allow a camera over https or at localhost only. Upload pictures instead, or serve the app over https.";
        return null;
    }
    return box.request === request ? box.stream : undefined;
}

const turn = (box) => {
    box.facing = box.facing === "user" ? "environment" : "user";
};
