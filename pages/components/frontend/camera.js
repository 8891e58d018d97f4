// Shared by the cameras of Classify and Teach.
const make = (name, properties, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
};

const closeCamera = (box) => {
    box.stream?.getTracks().forEach((track) => track.stop());
    box.stream = undefined;
    box.note.textContent = "";
};

// Shows the camera in box.video, or why it cannot be used in box.note.
async function openCamera(box, width) {
    closeCamera(box);
    try {
        const wanted = { facingMode: box.facing, width: { ideal: width } };
        box.stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
        box.video.srcObject = box.stream;
        await box.video.play();
    } catch (problem) {
        closeCamera(box);
        box.note.textContent = navigator.mediaDevices
            ? `The camera cannot be used (${problem.name}). Allow it in the browser, or upload pictures.`
            : "Browsers allow a camera over https or at localhost only. Upload pictures instead, or serve the app over https.";
    }
}

const turn = (box) => {
    box.facing = box.facing === "user" ? "environment" : "user";
};
