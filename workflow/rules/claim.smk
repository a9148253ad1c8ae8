# from tables to what they say of the paper's claims; nothing here reads weights
