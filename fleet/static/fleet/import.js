// The theme's script takes every file field for one of its own, and stumbles over ours.
document.getElementById("id_file").hasChangeListener = true;
