"""Pickles of pandas and torch: files that the real programs wrote are read without them, and hostile ones are refused."""

import base64
import pickle
import zlib

import numpy as np
import pytest

from vitruvian.data.pickled_tables import read_dictionary, read_frame
from vitruvian.errors import FormatError

# Rows 0 and 2 of a table of three: imgPath, camX, X (lists), kid (lists), j (arrays), flag, n. By pandas 1.0.5, 1.5.3, 2.3.3 and 3.1.1.
PANDAS_1_0 = (
    "c-oazQEL-H5Y8pJByBBPv8V_|1@)?U7$`-mm|(?F4^#0)5yG)|*~^~IUBca-8Ze*_sVVGRr{d4-KhW8|q+Z&9b>Xs;*_rvinc1Ch`q7r2Q%kJ$"
    "N!TW_>GmROdJzdIh=mt~lb1?9g!S(*1ViX{8<il|vi5$+X%v!fYz8DG9U8?TE<Eq{+`ZT7|J2`TVSsD1j&1sd#->AJ#9OpO`q|!*I&@%5LZ8YK"
    "xtId4hDp#Lr0zk|<vxibGC({#qHZsYd6c*uU4*U-L6i|rnH++Z8^N~bzz=u}hNW5M5wKOExA~wiQxy5#$8a!CPYXi(3e9Ho)o)zt$EtB~4rC5x"
    "Kj^$6oPj91BzO-(!>_RCw^90tO0P>gD271MLli?<!Dh0LaoMuCF|Po~l}5gcHP{LH=0+xOwjwTPQa&+Uvc0GmIEm+}@)|!c<z`oYvIAQad4DFc"
    "r>7FjAx$ekLdx5~CCi5?TZ+lD&9kA?RjI4cUM4hqGAFQR<@bR-Q-L$V%9DNJgy+_2(`gEtrjVR!2I=-ckgl++vfb?ZwAn><cuO@<CuTpy7U{0q"
    "ThOQ-r%(is8}$ipqh3h`EW}uz9E_>tb#rb#j%yR4{<l62E1%)y$@`#+y38)B-kznYjZ%{AE<xjIC(h&W;C~(NpVOf@aWL2&c8?isoo4*#5Jc&b"
    "S=}(J=`$sGpMfokk|PH|jKwvizVwN76M15ZO3;aHJj5wcaS|WjaEPKFcYRkrL)k`4li-OY1Z<Zbv0qlnD$i)&DXotBto8$H=X7X#lM0i)n7MQ^"
    "J=LFtCb4?3HVy<Fe{$eVN1+{1PSgZyAyvXT&bT2Yj`;_UCd|V"
)
PANDAS_1_5 = (
    "c-n<j&2Q5%6mQa`?LGu!5(9)Zae{KGG=UHYM5_%^Mnpk~1D6t<#Hm9QH%c6hAtu3Lqm_K)vA=Ww0X!$^no6Cpl=wOJ^Y6oc`C<O~X4LW~Z^VRq"
    "B<;A9gm(OdL=@!O3nIwNJpK(2f5Hj0rC~>-1mtdYdB6otI0@5EL^v7IBn7#-A5Pryn_`UVZMjpX*kRzLiyV;G?Tp8PI}WMss3cr1w|N%D$Hn#-"
    "(j;&}ZrFY@iJZ*$i!IOff_zQWK$>|5_MSM76=A76doY{+g7?t2>Qeg-gTdhSUu^lystIr`&C<_6Y6l>2nQS>(5Q=~!DKiZNS8ZdNR>RWNE|#v|"
    "Y=d2EpKsMxwN?+<w$%NnRorJ+;<7smmF=q0)ez0HUn~0@BB(&H2mb|VSj}Ysd9z}0l%Z&nBn0i-v=i!1cq)?26)2x=$tE6KK8a@3PT@dvpg`6v"
    "BS%3#Z>xNEmics%&uoY{z$BfRkI-8;?}yOuUKE-LPWOAIz<#e)1at^fH8Y!1Wyrmio?mp!ptm@K`{?IF{s)Q#R&6l9KJ~IUE**Yk8K-4>;g|p="
    ";P&#Z_vlxeb{vvot*qOe9@&TLn{w@wH0N<%H6B(Hu;;9&9Ax`*|C%^>m3z|+qR~4d7)Zk<(MP<K_|(UNhtU`O=!XQI(>N$G(%`Bn2icj@_gUUu"
    "#p|+c)(^RO^0-2Wd8@9lUQw^l)w84kq3VUjkF|yW1*K;GkFX;uNG@-PCrgCD>OTS5uodGxyhXxra+KO$7Gq5jLG6$@6f1w4W=`iH`^SoR"
)
PANDAS_2_3 = (
    "c-n<i&u`N(6mHUF?brkZqym?T6O>CN#DxQ*)rKe#QGSR6mtvg6sY8=AN*s+zOoGEkEBVG_f9L)Kcy?0SN}aG2`#JXW_r1^lzT3awSq<If^^B$g"
    "EgXNEGbhYx!a#06qk=xy@h^Dr15ThTEs~6Lko&9Kqg1dwrE%dTG^Jyf7a(^J;;BD*UClAQD?4=xi6gIA=779L$~24oNz90+l5n@YnU+a*>=1oE"
    "#w?F~kUJ#Ir-@gFVRh!YS+Q>z21r|{;24PGOfi<G_Ymf@pYR^KZc`fHU^pDU`h!h(ZbN|Q8m@T;(l`Wx+hp4-qgX^Kva*Xf^3^e}?QXe-I>j|r"
    "&v*FM?)hG0Q)~Bu-;iebcop}_rMUc#Lgo8vb~!|=9=GdJLqsbO{QiFdw%pb_fb6U)oRnBK&2x(S?UJ1N)3gwI=?ko%@5vTkoL)pV8mDk*cu+wb"
    "uBBm+(3@34opnMzBs3r48?dR9rDGJ=*W(BVy^E?Sipzt3UE!eLt^ziKnOd38m{R2KM$s>Nb<kg4!aWppS^o!y1U4P8ct6d0wEju_$hA)E^hz=T"
    "s({<;?>=B(S>brJK(|~WDLW!B)jy@$CuuKY?VA9-1pF!QD+T$%LcbPHUTAGvQ8Io@1qW&QH2H{+62Imo3NZSDKf{=!az+ZO7-^--mc#N))%Tfu"
    "h{1zR57S&J$y}7g^D2|64n2*ILAxu83+t1F3931d@VclFXzCM?TSU>&;Vl}+)1!g}Wrj|nf{~bd3=KUiO3(QVgF1RL"
)
PANDAS_3_1 = (
    "c-n<jOK;Oa5RP3Z>4T>#3KCW61u4B)q9>4mrVkNO3xf&=F41ajZ?Y!#+OpTQk*I(}ODZiVmj2FiLtJ2X<B+5+!cwwh@63GPH#@VRs^5QE75#`>"
    "idlejDdu)C$Imhx6ZuW9eU^u^AuJSkGbvVvKDM7^#10uJ8N*R-$C%+R$sqR1R+RX?7sGc5Z-}Kb1Vy2jk7J~`jtZ8BelH@(Q$gS@7N?wXmf=2l"
    "E+dro56159&ZgSg!hVkgD(q?*HVRmH&9jhowHNH~-mCqv+%IxZ(#mLWhxb#Z4`lZ_O_*$b{5dSdG5CokR>W!FMp|fGL_E~FK_JSApRk-~h0j%d"
    "ReMTN2L>gcQ#q2`h9?zb!!aE5NYZ6d4MvdW%ZKu0Fx;IH#s}%T?(T1R^q;fArFYVX(p9mYvMxaQdL{7vSbAdCD?%W|Kxj3OLZ4_zz%f)x$J9a>"
    "#Nwm`ut^sBP#V<9lGrOco#FYM-l$ym%r+&xFU-yq(Z}bAR)CO_cPxdmExCeSSMSqA=v}&^DneIB^_Wp1w4pS%WozSX2#Mjf)hzK_&Do(r+H#<F"
    "P6mWNYMicK%JyudG@4`fPk@Jl+0?w=sNw-T)2W_g2T9E`+Ay?e@4;9!UHg~hGVwYjtX)hws%pJl=gL(BgcDVzPyY*0bLx`-T&mu<Gd+m`IUu?1"
    ";hab@j~LlU&($|LVQBg4$kvk_z;sJ`jozFXi(7PQs{b#ZS^cOyF;NfW?kmix6qb+Uw{Z6Go9TrCSnuFtC&JLP2K(Eu7E@P=Tj<2^fzSLNW?eEt"
    "ihgyWl{wBhG_tUAo}|*TltI8SbtKVqX(1RQxT2JZj=rMA9Eu6YT2&h+0&@-*(IE^rQcSdY8%I&HpQE5iVO}sND8e3rOK6Z6p8W@en9!R"
)
# {"betas": arange(6) as (2, 3) float32, "turned": its second row as a column, "parameter": the same in float64} by torch 2.13.
TORCH = (
    "c-rlfyKfUg5Qpz&8yo@_(9lsH60+o1VyajuO0(h>nrqPNd^h9{ZEn4LbCH5%=^8?UuFKL<Q1Y+Q(IQbW_BkXH7NSLBw7WAq``g#2DZP)<vz9hD"
    "e$|))hPkP3pwv;)<prjKrnk9<X_1PUBV@VM{HSlvNxoUja&qATn5x5t3}gOU%R@drM#xF^_>OH^rSqXJetg>de*evv=l8m$^W>{b<6K#O(4o6$"
    "TB3}k;76eIRA$O1L9j_HB1IIyA&b*6Q_gA7rX(KEfamF3$dx-+o*y(QnI}@CYA`2oX_jWFn#>CppA#}WP%Y*a1>NZft%bOLva+J(7utLDaC})O"
    "+sY1ZlIGEHH0Te9<ME(38ue9uZZs>D%bHJ7c`xX+SISzawZm@Hx@zSP4HIhAOX{B|=AGF$%wi66PYiRJePYh44Pqc5LP9{;H=gMjG{n1UghcYe"
    "zCqekHL=hc#3u3lr1c-~pYXahSY|IEpCz|05MG~!Iy?jfZ4&27d0(c_S9l-(3wU>BF%__m?_jIHz1{0=jsJr0rS><z7xryu6-;V(ZRI;Fe|K$J"
    "|KfhSjNVgJbbkV3-aJ4"
)


def unpacked(text):
    return zlib.decompress(base64.b85decode(text))


@pytest.mark.parametrize("text", [PANDAS_1_0, PANDAS_1_5, PANDAS_2_3], ids=["1.0.5", "1.5.3", "2.3.3"])
def test_tables_of_pandas_are_read_by_column(tmp_path, text):
    (tmp_path / "t.pkl").write_bytes(unpacked(text))
    table = read_frame(tmp_path / "t.pkl")
    assert sorted(table) == ["X", "camX", "flag", "imgPath", "j", "kid", "n"]
    assert table["imgPath"].tolist() == ["a.png", "c.png"] and table["camX"].tolist() == [0.0, 3.0] and table["n"].tolist() == [7, 9]
    assert table["X"].tolist() == [[1.0], [2.0, 3.0]] and table["kid"].tolist() == [[True], [False, True]]
    assert table["flag"].tolist() == [True, True] and table["j"][1].tolist() == [[0, 1], [2, 3]]


def test_a_table_of_pandas_3_says_what_it_asks_for(tmp_path):
    (tmp_path / "t.pkl").write_bytes(unpacked(PANDAS_3_1))
    with pytest.raises(FormatError, match=r"pandas\.DataFrame"):
        read_frame(tmp_path / "t.pkl")


@pytest.mark.parametrize("cut", [10, 200, 500, -1])
def test_a_table_that_ends_early_is_refused(tmp_path, cut):
    (tmp_path / "t.pkl").write_bytes(unpacked(PANDAS_1_5)[:cut])
    with pytest.raises(FormatError):
        read_frame(tmp_path / "t.pkl")


def test_a_table_with_changed_bytes_is_read_or_refused(tmp_path):
    whole, refused = unpacked(PANDAS_1_0), 0
    places = range(0, len(whole), 19)
    for place in places:
        (tmp_path / "t.pkl").write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            read_frame(tmp_path / "t.pkl")
        except FormatError:
            refused += 1
    assert 0 < refused < len(places)  # what only changes a number is read


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], "x"])
def test_what_is_no_table_is_refused(tmp_path, value):
    (tmp_path / "t.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(FormatError, match="table"):
        read_frame(tmp_path / "t.pkl")


def test_tensors_of_torch_become_arrays(tmp_path):
    (tmp_path / "t.pkl").write_bytes(unpacked(TORCH))
    fit = read_dictionary(tmp_path / "t.pkl")
    assert fit["betas"].tolist() == [[0, 1, 2], [3, 4, 5]] and fit["betas"].dtype == np.float32
    assert fit["turned"].tolist() == [[3], [4], [5]] and fit["parameter"].dtype == np.float64


def test_a_tensor_that_reaches_beyond_its_data_is_refused(tmp_path):
    whole = unpacked(TORCH)
    assert whole.count(b"K\x00K\x02K\x03\x86") == 2  # offset 0, shape (2, 3)
    (tmp_path / "t.pkl").write_bytes(whole.replace(b"K\x00K\x02K\x03\x86", b"K\x09K\x02K\x03\x86", 1))
    with pytest.raises(FormatError, match="beyond"):
        read_dictionary(tmp_path / "t.pkl")


def test_nothing_in_a_dictionary_runs(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    (tmp_path / "t.pkl").write_bytes(pickle.dumps({"betas": Evil()}))
    with pytest.raises(FormatError, match="print"):
        read_dictionary(tmp_path / "t.pkl")
    assert "ran" not in capsys.readouterr().out
