"""The paper's claims, a file each: what it says, and the statements by which that is tested."""
